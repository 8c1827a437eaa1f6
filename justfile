# What people do daily.

# Everything that continuous integration runs.
test:
    bash .ci/test

# The figures, as ratios to a floor.
bench:
    cargo bench --bench steps

# Licences, advisories, sources.
deny:
    cargo deny check

# The schema beside the runbooks, anew.
schema:
    cargo run --quiet -- schema > runbooks/runbook.schema.json
