# What people do daily.

# Everything that continuous integration runs.
test:
    bash .ci/test

# Which changes to the pure core and the redactor no test notices. Takes hours: the program is built anew for each of some 650.
# A share of the laws is enough for nearly all; try a survivor again without LAWS, and with `--test it`.
mutants *args:
    LAWS=53 cargo mutants {{args}}

# A search for inputs that fail, guided by coverage: yaml, template, condition, event, redactor or record. Needs a C++ compiler.
fuzz target seconds="3600":
    tests/fuzz/guided/run {{target}} {{seconds}}

# Random kills and hostile leavings; the seed of each world is printed, and SWITCHOVER_ATTACK_SEED tries one again.
attack seconds="600":
    SWITCHOVER_ATTACK_SECONDS={{seconds}} cargo test --test attack -- --show-output

# The figures, as ratios to a floor.
bench:
    cargo bench --bench steps
    cargo bench --bench rehearsal

# Licences, advisories, sources.
deny:
    cargo deny check

# The schema beside the runbooks, anew.
schema:
    cargo run --quiet -- schema > runbooks/runbook.schema.json
