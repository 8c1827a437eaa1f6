//! The use cases, called as a page would call them: what the command line refuses, they refuse.

use switchover::engine::Config;
use switchover::journal::JournalError;
use switchover::operate::{Found, LoadError, OperateError, RunKind, Source, Start};
use switchover::run::Person;

use super::sandbox::Sandbox;

const REQUIRING: &str = r#"
runbook: shop
parameters: { old: { default: alpha }, new: { default: beta } }
sides: { from: { host: old }, to: { host: new } }
environments:
  staging: {}
  production: { requires: { rehearsals: 1, succeeded_in: staging } }
phases:
  move:
    steps:
      a: { run: 'echo a >> "$W"', live_test: invert, undo: none, estimate: 1s }
      b: { run: 'echo b >> "$W"', live_test: invert, estimate: 1s }
"#;

fn start(sandbox: &Sandbox, kind: RunKind, overriding: Option<&str>) -> Start {
    let source = Source {
        file: sandbox.path("book.yaml"),
        environment: Some("production".to_owned()),
        set: Vec::new(),
        values: Vec::new(),
    };
    let overriding = overriding.map(str::to_owned);
    Start { source, name: None, until: None, kind, overriding }
}

fn config() -> Config {
    Config {
        operator: Person("page@test".to_owned()),
        parallel: 4,
        guided: false,
        consents: true,
        ask: None,
    }
}

#[test]
fn nobody_goes_round_the_gate() {
    let sandbox = Sandbox::with(REQUIRING);
    let admit = |kind, overriding| {
        start(&sandbox, kind, overriding).propose(&sandbox.path("journal")).unwrap().admit(config())
    };
    for kind in [RunKind::Real, RunKind::LiveTest] {
        // A run begins only as an `Admitted`, and there is no other way to one.
        let Err(OperateError::MayNotBegin { missing }) = admit(kind, None) else {
            panic!("{kind:?} was admitted, or refused for something else");
        };
        insta::allow_duplicates! {
            insta::assert_snapshot!(missing.join("\n"), @"
            1 good rehearsals in production are required, and there are 0
            a finished run in staging is required, and there is none
            ");
        }
    }
    let admitted = admit(RunKind::Real, Some("the board agreed")).unwrap();
    assert_eq!(admitted.without_undo(), ["move/b"]);
    // It changes nothing, and may be a part of what is to be shown.
    let dry = admit(RunKind::DryRun, None).unwrap();
    assert!(dry.without_undo().is_empty());
    assert!(sandbox.run("list").starts_with("there are no runs in this journal yet"));
    assert!(sandbox.witness().is_empty());

    assert_eq!(sandbox.code("run book.yaml --env staging"), 0);
    assert_eq!(sandbox.code("rehearse book.yaml --env production --runs 0"), 0);
    assert!(admit(RunKind::Real, None).is_ok());
}

#[test]
fn what_is_wrong_is_told_as_what_it_is() {
    let sandbox = Sandbox::with(REQUIRING);
    let journal = sandbox.path("journal");
    assert!(matches!(
        Found::find(&journal, None),
        Err(OperateError::Journal(JournalError::Missing(_)))
    ));
    assert!(!journal.exists(), "a journal is not made to look for a run in it");

    let mut wanted = start(&sandbox, RunKind::Real, None);
    wanted.until = Some("nowhere".to_owned());
    assert!(matches!(wanted.propose(&journal), Err(OperateError::NoStep { .. })));
    let mut wanted = start(&sandbox, RunKind::Real, None);
    wanted.source.environment = Some("nowhere".to_owned());
    assert!(matches!(wanted.propose(&journal), Err(OperateError::Load(LoadError::Problems(_)))));
    assert!(!journal.exists(), "a journal is not made for a runbook that is none");

    assert_eq!(sandbox.code("run book.yaml --env staging"), 0);
    assert!(matches!(
        Found::find(&journal, Some("nowhere")),
        Err(OperateError::Journal(JournalError::NoRun(_)))
    ));
}
