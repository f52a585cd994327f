"""Times our three metrics against METEOR's Java program alone, in turn, on 1,862 WebNLG outputs.

    cargo build --release -p inducer-datasets --example webnlg_scores
    python datasets/checks/time.py WEBNLG_SCORES METEOR_JAR PARAPHRASES [ROUNDS]
"""
import json
import os
import statistics
import subprocess
import sys
import time

folder, jar, table = sys.argv[1:4]
rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 5
target = json.loads(
    subprocess.check_output(["cargo", "metadata", "--no-deps", "--format-version", "1"])
)["target_directory"]
commands = {
    "BLEU, TER and METEOR, ours": [
        f"{target}/release/examples/webnlg_scores",
        folder,
        "GKB_Unimelb",
        jar,
        table,
    ],
    "METEOR alone, Java": [
        "java",
        "-Xmx2G",
        "-jar",
        jar,
        f"{folder}/systems/GKB_Unimelb_all-cat.txt",
        f"{folder}/references/gold-all-cat-reference-3ref.meteor",
        "-l",
        "en",
        "-norm",
        "-r",
        "3",
        "-a",
        table,
    ],
}
seconds = {name: [] for name in commands}
for _ in range(rounds):
    for name, command in commands.items():
        start = time.perf_counter()
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds[name].append(time.perf_counter() - start)
print(out.strip().splitlines()[-1])
medians = {name: statistics.median(s) for name, s in seconds.items()}
for name, s in seconds.items():
    print(f"{name}: median {medians[name]:.2f} s of {', '.join(f'{x:.2f}' for x in s)}")
ours, java = medians.values()
print(f"ratio {ours / java:.2f}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
