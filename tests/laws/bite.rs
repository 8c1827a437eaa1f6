//! The laws, each against an executor that breaks it.

use std::sync::Arc;

use super::case::{Case, Fault, History};
use super::checker::{check, check_held};
use super::driver::drive;
use super::graphs::{all_edges, held};
use super::{all_cases, drawn, with_amendments, with_points, with_words};

/// The cases in which a fault can show itself.
fn with_turn(fault: Fault, case: Case) -> Vec<Case> {
    match fault {
        Fault::BeginsAnewWithoutUndo => vec![Case { in_part: true, ..case }],
        Fault::PassesAPointUnasked | Fault::WaitsWhileSomethingCanGo => {
            with_points(&case).collect()
        }
        Fault::GoesBackPastAPoint => {
            with_points(&case).filter(|case| case.point.is_some_and(|point| !point.force)).collect()
        }
        Fault::AmendsWhatHasBegun | Fault::ForgetsAtAnAmendment | Fault::RefusesTheSame => {
            with_amendments(&case).collect()
        }
        Fault::TellsTwice => vec![with_words(&case)],
        Fault::LosesWhatIsOwedAtAnAmendment => {
            with_amendments(&case).map(|case| with_words(&case)).collect()
        }
        _ => vec![case],
    }
}

fn small(fault: Fault) -> impl Iterator<Item = Case> {
    all_edges(3).flat_map(|edges| all_cases(3, edges)).flat_map(move |case| with_turn(fault, case))
}

fn holding() -> impl Iterator<Item = Case> {
    let held = |(edges, case): (u32, Case)| Case {
        book: held(3, edges, case.idempotent, case.book.steps[0].on_failure),
        ..case
    };
    all_edges(3)
        .flat_map(|edges| all_cases(3, edges).into_iter().map(move |case| (edges, case)))
        .map(held)
}

/// What the checker finds first, when the executor has this fault and dies at any one point.
fn caught(
    fault: Fault,
    expected: &str,
    mut cases: impl Iterator<Item = Case>,
    check: fn(&Case, &History) -> Result<(), String>,
) -> Option<String> {
    cases.find_map(|case| {
        let case = Case { fault, book: Arc::clone(&case.book), ..case };
        let points = drive(&case, &[]).map_or(0, |history| history.points);
        // The state machine refuses most of these too; the checker must see each by itself, and for
        // what it is.
        let one = |crash: Vec<usize>| {
            drive(&case, &crash).ok().and_then(|history| check(&case, &history).err())
        };
        (0..points)
            .map(|at| vec![at])
            .chain([vec![]])
            .find_map(|crash| one(crash).filter(|law| law.starts_with(expected)))
    })
}

#[test]
fn the_laws_bite() {
    let readme = super::readme();
    let claim = format!("{} deliberate faults", SMALL.len() + HOLDING.len() + DRAWN.len());
    assert!(readme.contains(&claim), "README does not say that there are {claim}");
    let tell = |fault: Fault, law: Option<String>| {
        let law = law.unwrap_or_else(|| panic!("no law caught the fault {fault:?}"));
        println!("laws: the fault {fault:?} is caught: {law}");
    };
    for (fault, expected) in SMALL {
        tell(fault, caught(fault, expected, small(fault), check));
    }
    for (fault, expected) in HOLDING {
        tell(fault, caught(fault, expected, holding(), check_held));
    }
    for (fault, expected) in DRAWN {
        tell(fault, caught(fault, expected, (0..3_000).map(drawn::case), check));
    }
}

const SMALL: [(Fault, &str); 19] = [
    (Fault::ActsBeforeTheJournal, "law 1:"),
    (Fault::StartsBeforeNeeds, "law 2:"),
    (Fault::BeginsBesideTheLiving, "law 12:"),
    (Fault::RepeatsWhatIsInDoubt, "law 13:"),
    (Fault::TakesUnknownForDone, "law 21:"),
    (Fault::IgnoresDependentsOnUndo, "law 27:"),
    (Fault::GoesForwardAfterRollback, "law 28:"),
    (Fault::PassesOverAFailedStep, "law 29:"),
    (Fault::UndoesTwice, "law 31:"),
    (Fault::BeginsAnewWithoutUndo, "parts:"),
    (Fault::PassesAPointUnasked, "points: step"),
    (Fault::GoesBackPastAPoint, "points: step"),
    (Fault::WaitsWhileSomethingCanGo, "points: it waits"),
    (Fault::AmendsWhatHasBegun, "amendments:"),
    (Fault::ForgetsAtAnAmendment, "law 20:"),
    (Fault::RefusesTheSame, "refused:"),
    (Fault::ActsAfterAFailedCommit, "law 1:"),
    (Fault::TellsTwice, "law 42:"),
    (Fault::LosesWhatIsOwedAtAnAmendment, "law 42:"),
];

const HOLDING: [(Fault, &str); 2] =
    [(Fault::GoesOnUnheld, "holds: step"), (Fault::NeverReleases, "holds: the run is over")];

const DRAWN: [(Fault, &str); 12] = [
    (Fault::TakesSilenceForNo, "law 15:"),
    (Fault::LooksAtTheLiving, "law 16:"),
    (Fault::LooksAndChanges, "law 44:"),
    (Fault::RepeatsTooEarly, "law 19: step"),
    (Fault::RepeatsTooOften, "law 19: step"),
    (Fault::RepeatsWhatMayHaveHappened, "law 19: step"),
    (Fault::OverfillsAGroup, "groups: {"),
    (Fault::ToleratesTooMany, "groups: step"),
    (Fault::IgnoresAConditionThatFails, "conditions:"),
    (Fault::SkipsWhatHolds, "conditions:"),
    (Fault::ForgetsThatItStopped, "law 34:"),
    (Fault::StopsUnwritten, "law 34:"),
];
