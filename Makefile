# The two commands of the README, each with all the set-up it needs. Both build with one profile,
# release: what one has built the other uses, and what is tested is what is run.
.PHONY: report test lint setup wheel bench-peers bench-against bench-growth check-cuda \
	sanitize-kernels mutants faults functions proofs engines backbones variant check-variant

report: setup
	cargo run --release -- report

test: setup
	cargo test --release --workspace --no-fail-fast

# What a change needs besides: format, lints, documentation (needs rustfmt and clippy).
lint: setup
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

# The backbones that the program carries, pretrained again into reports/backbones, of whose log the
# first ten steps and every 200th stay. Of the three the one on conversations takes longest, seven
# minutes on two cores of a Zen 5.
backbones: setup
	cargo build --release
	reports/checks/backbones.sh

# The paper's identities, proved for all inputs: checked by Coq, installed where apt is and it is
# missing (verify/proofs/README.md).
proofs:
	@verify/proofs/check.sh

# Other engines against the ledger, and the page about them (needs torch, transformers, peft 0.21.2,
# safetensors).
engines: setup
	cargo build --release
	$(PYTHON) verify/checks/engines.py --variant --out reports/results/engines.md

# A LAPACK (libopenblas), installed with the system's package manager when it is missing.
setup:
	@.ci/setup

# The same training steps and decoding here and in PyTorch, in turn, and the ratios (needs torch,
# transformers, peft).
PYTHON ?= python3
bench-peers: setup
	cargo build --release
	$(PYTHON) reports/peers/compare.py

# The same steps of another commit (REV), in turn, and whether this tree is slower (ARGS: --cases,
# --rounds, reports/checks/bench_against.py --help).
bench-against: setup
	$(PYTHON) reports/checks/bench_against.py $(REV) $(ARGS)

# How time and memory of a step grow with each size, and a picture (needs matplotlib).
bench-growth: setup
	cargo build --release
	$(PYTHON) reports/checks/growth.py $(ARGS)

# A crate of one's own around a variant, in DIR (CONTRIBUTING.md, "A variant of your own").
variant: setup
	@verify/checks/variant.sh $(DIR)

# The same elsewhere: built outside of the workspace, checked, trained and reported (ARGS:
# --profile dev).
check-variant: setup
	@verify/checks/variant.sh $(ARGS)

# The Python wheel: the command and the package inducer_tuning, tested in a fresh environment.
wheel: setup
	PYTHON=$(PYTHON) reports/checks/wheel.sh

# What a CUDA device computes and how fast, in at most eight minutes, from a built binary (ARGS:
# --binary FILE and more, verify/checks/cuda.sh --help).
check-cuda:
	verify/checks/cuda.sh --python $(PYTHON) $(ARGS)

# The engine's tests with a card's kernels, emulated, under AddressSanitizer and
# UndefinedBehaviorSanitizer (ARGS: names of tests; GCC).
sanitize-kernels: setup
	verify/checks/sanitized_kernels.sh $(ARGS)

# The faults of verify/faults, put into a copy of the workspace behind a switch, against the ledger
# at five seeds, other rows where the named one passes (ARGS: --seeds 1,2 --only NAME,
# verify/checks/faults.py --help). A run that was stopped goes on. What came out: verify/FAULTS.md.
faults: setup
	$(PYTHON) verify/checks/faults.py --out verify/FAULTS.md $(ARGS)

# Whether every row of the ledger runs the functions that it names, by counters in a build of their
# own (needs rustup component add llvm-tools): ten minutes on two cores.
functions: setup
	$(PYTHON) verify/checks/functions.py $(ARGS)

# Mutation testing (needs cargo-mutants: cargo install cargo-mutants --locked): the reference with
# its own tests, one build a mutant, some hours; the engine's operations and methods with theirs and
# the claims about whole models, all mutants in one build behind a switch (ARGS: --since REV,
# verify/checks/mutants.py --help). What came out: verify/MUTANTS.md.
mutants: setup
	cargo mutants -p inducer-reference
	$(PYTHON) verify/checks/mutants.py $(ARGS)
