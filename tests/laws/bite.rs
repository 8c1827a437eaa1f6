//! The laws, each against an executor that breaks it.

use super::case::{Case, Fault};
use super::checker::check;
use super::driver::drive;
use super::graphs::all_edges;
use super::{all_cases, with_amendments, with_points};

/// The cases in which a fault can show itself.
fn with_turn(fault: Fault, case: Case) -> Vec<Case> {
    match fault {
        Fault::BeginsAnewWithoutUndo => vec![Case { in_part: true, ..case }],
        Fault::PassesAPointUnasked | Fault::WaitsWhileSomethingCanGo => with_points(&case).collect(),
        Fault::GoesBackPastAPoint => with_points(&case).filter(|case| case.point.is_some_and(|point| !point.force)).collect(),
        Fault::AmendsWhatHasBegun | Fault::ForgetsAtAnAmendment => with_amendments(&case).collect(),
        _ => vec![case],
    }
}

#[test]
fn the_laws_bite() {
    for (fault, expected) in [
        (Fault::ActsBeforeTheJournal, "law 1:"),
        (Fault::StartsBeforeNeeds, "law 2:"),
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
    ] {
        let mut caught = None;
        'search: for edges in all_edges(3) {
            for case in all_cases(3, edges).into_iter().flat_map(|case| with_turn(fault, case)) {
                let case = Case { fault, ..case };
                let points = drive(&case, &[]).map_or(0, |history| history.points);
                for crash in (0..points).map(|at| vec![at]).chain([vec![]]) {
                    // The state machine refuses most of these too; the checker must see each by itself, and for what it is.
                    if let Ok(history) = drive(&case, &crash)
                        && let Err(law) = check(&case, &history)
                        && law.starts_with(expected)
                    {
                        caught = Some(law);
                        break 'search;
                    }
                }
            }
        }
        let law = caught.unwrap_or_else(|| panic!("no law caught the fault {fault:?}"));
        println!("laws: the fault {fault:?} is caught: {law}");
    }
}
