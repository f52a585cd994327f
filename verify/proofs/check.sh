#!/usr/bin/env bash
# Checks the proofs: compiles every file in the order of its imports, asks Coq what the theorems
# rest on, and holds files, theorems.toml and the ledger against each other. One line a theorem.
#
#   check.sh [--no-install]    without: Coq is installed where apt is and it is missing
#
# Exit status: 0 all proved, 1 something failed, 77 not run (no Coq here and none to be installed).
set -euo pipefail
cd "$(dirname "$0")"
build=../../target/proofs
export LC_COLLATE=C

# Axioms of Coq's own library of real analysis; nothing else may be assumed.
allowed='ClassicalDedekindReals.sig_forall_dec
ClassicalDedekindReals.sig_not_dec
FunctionalExtensionality.functional_extensionality_dep
Classical_Prop.classic'

rm -rf "$build"
mkdir -p "$build"

have_coq() {
    command -v coqc >/dev/null || return 1
    echo 'From Coquelicot Require Coquelicot.' >"$build/probe.v"
    (cd "$build" && coqc -q -w none probe.v >/dev/null 2>&1)
}

if ! have_coq; then
    if [ "${1:-}" != --no-install ] && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
        echo "proofs: installing Coq and Coquelicot" >&2
        { apt-get update -qq && apt-get install -y -qq coq libcoq-coquelicot >/dev/null; } || true
    fi
    if ! have_coq; then
        echo "proofs: not run: needs coqc 8.16 or later with Coquelicot" \
            "(Debian: coq, libcoq-coquelicot)" >&2
        exit 77
    fi
fi

problems=0
problem() {
    echo "proofs: $*" >&2
    problems=$((problems + 1))
}

# What may not stand in a proof.
open='(Admitted|admit|Abort)\b|^ *(Local |Global |#\[.*\] *)*(Axiom|Parameter|Conjecture)s?\b'
if grep -nE "$open" ./*.v; then
    problem "a proof is left open or something is assumed (above)"
fi

# From the files: name|file|equation of every theorem; the equation is what its comment begins with.
stated=$(awk '
    FNR == 1 { comment = "" }
    /^\(\*\* / { comment = $0; sub(/^\(\*\* /, "", comment); gap = 0 }
    /^Theorem / {
        name = $2; sub(/:.*/, "", name)
        equation = comment
        if (name ~ /^refuted_/) equation = comment ~ /^False: / ? "False" : ""
        else if (!sub(/\.  .*/, "", equation)) equation = ""
        print name "|" FILENAME "|" equation
        comment = ""
    }' ./*.v | sed 's,|\./,|,' | sort)

# From the index: the same, a control with what it varies in the place of its equation; and the
# claims it names.
field='function value(line) { sub(/^[a-z]+ = "/, "", line); sub(/"$/, "", line); return line }'
indexed=$(awk "$field"'
    function flush() { if (name != "") print name "|" file "|" equation; name = "" }
    /^\[\[/ { flush(); equation = "" }
    /^name = / { name = value($0) }
    /^file = / { file = value($0) }
    /^equation = / { equation = value($0) }
    /^varies = / { equation = "False" }
    END { flush() }' theorems.toml | sort)
varied=$(awk "$field"' /^varies = / { print value($0) }' theorems.toml | sort -u)
claimed=$(sed -n 's/^claims = \[\(.*\)\]$/\1/p' theorems.toml | tr ',' '\n' | tr -d ' "' |
    sed '/^$/d' | sort -u)
ledger=$(sed -n 's/^id = "\(.*\)"$/\1/p' ../claims.toml | sort)

only() { comm "-$1" <(echo "$2") <(echo "$3") | sed '/^$/d'; }
while read -r line; do
    problem "stands in the files and not so in theorems.toml: $line"
done < <(only 23 "$stated" "$indexed")
while read -r line; do
    problem "stands in theorems.toml and not so in the files: $line"
done < <(only 13 "$stated" "$indexed")
while read -r line; do
    problem "theorems.toml names a claim that the ledger lacks: $line"
done < <(only 23 "$claimed" "$ledger")
while read -r line; do
    problem "theorems.toml has a control of a theorem that it lacks: $line"
done < <(only 23 "$varied" "$(echo "$stated" | cut -d'|' -f1 | sort)")
while read -r line; do
    problem "a theorem's comment does not begin with its equation (a control's with False:): $line"
done < <(echo "$stated" | grep '|$' || true)
while read -r line; do
    problem "two theorems have one name: $line"
done < <(echo "$stated" | cut -d'|' -f1 | sort | uniq -d)
while read -r line; do
    problem "no theorem of this file has a control: $line"
done < <(only 23 "$(echo "$stated" | cut -d'|' -f2 | sort -u)" \
    "$(echo "$stated" | sed -n 's/|False$//p' | cut -d'|' -f2 | sort -u)")

# Compilation, and what the theorems rest on: asked once for all together. Coq's answer has one
# axiom at the beginning of a line; whatever else it may say there is suspect.
cp ./*.v "$build"
cd "$build"
rm -f probe.v
order=$(coqdep -Q . Inducer -sort ./*.v)
asked() { printf 'Definition asked := (%s).\nPrint Assumptions asked.\n' "$1"; }
suspects() {
    awk '/^[^ ]/ && !/^(Axioms:|Closed under)/ { print $1 }' "$1" | sort -u >axioms
    only 23 "$(cat axioms)" "$(echo "$allowed" | sort)"
}

# All files as the modules of one, which is how Coq loads its library of real analysis once.
together() {
    for file in $order; do
        name=$(basename "$file" .v)
        echo "Module $name."
        sed 's/^From Inducer Require Export \(.*\)\.$/Export \1./' "$file"
        echo "End $name."
    done
    asked "$(echo "$stated" |
        awk -F'|' '{ sub(/\.v$/, "", $2); print "@" $2 "." $1 }' | paste -sd, -)"
}
uncompiled=
one_by_one=
mkdir together
together >together/all.v
if ! coqc -q -w none together/all.v >all.out 2>&1 || [ -n "$(suspects all.out)" ]; then
    # to say where; what depends on a file that fails is not tried
    for file in $order; do
        if [ -n "$uncompiled" ] || ! coqc -q -w none -Q . Inducer "$file"; then
            uncompiled="$uncompiled $(basename "$file")"
        fi
    done
    [ -n "$uncompiled" ] || one_by_one=yes
fi
ask() {
    {
        for file in $order; do
            echo "From Inducer Require $(basename "$file" .v)."
        done
        asked "$1"
    } >asked.v
    coqc -q -w none -Q . Inducer asked.v >asked.out
    suspects asked.out
}

passed=0
failed=0
while IFS='|' read -r name file equation; do
    verdict=proved
    [ "$equation" = False ] && verdict=refuted
    case " $uncompiled " in *" $file "*) verdict="FAILED: does not compile" ;; esac
    if [ -n "$one_by_one" ]; then
        assumed=$(ask "@Inducer.${file%.v}.$name" | paste -sd' ' -)
        [ -z "$assumed" ] || verdict="FAILED: assumes $assumed"
    fi
    case $verdict in FAILED*) failed=$((failed + 1)) ;; *) passed=$((passed + 1)) ;; esac
    [ "$equation" = False ] && equation=control
    printf '%-44s %-24s %s\n' "$name" "$equation" "$verdict"
done <<<"$stated"
echo "$passed passed, $((failed + problems)) failed"
[ $((failed + problems)) -eq 0 ]
