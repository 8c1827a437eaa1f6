//! Questions to the person at the terminal, in plain lines: they work over any connection and in 80
//! columns.

use std::io::{BufRead, IsTerminal};
use std::sync::Arc;

use crate::engine::{Answer, Ask, Question, QuestionKind};
use crate::report::{self, Lines, say, tell};
use crate::runbook::Outputs;

/// Asks on the terminal, if there is one to ask on and to answer from.
pub fn at_terminal() -> Option<Ask> {
    let there = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    there.then(|| Arc::new(|question: &Question| ask(question)) as Ask)
}

/// Asks for a yes; anything else is a no.
pub fn confirm(question: &str) -> bool {
    prompt(&format!("{question} [y]es or [n]o? "))
        .is_some_and(|answer| matches!(answer.as_str(), "y" | "yes"))
}

fn ask(question: &Question) -> Answer {
    let mut out = Lines::default();
    out.space();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            out.line(format_args!("  {name:<9} {value}"));
        }
    };
    line("step", &question.step);
    line("what", &question.title);
    line("why", &question.description);
    line("who", &question.role);
    line("does", &question.action);
    if let Some(estimate) = question.estimate {
        line("takes", &format!("about {estimate}"));
    }
    line("undo", &question.undo);
    tell(&out);
    loop {
        let answer = match question.kind {
            QuestionKind::Step => prompt("  [g]o, [s]kip, [r]oll back or s[t]op? "),
            QuestionKind::Task => prompt("  [d]one, [n]ot done, [s]kip, [r]oll back or s[t]op? "),
            QuestionKind::Point => prompt(
                "  after this a rollback goes no further back: [g]o, [s]kip, [r]oll back or \
                 s[t]op? ",
            ),
            QuestionKind::Approve => prompt("  [g]o, [n]o-go, [r]oll back or s[t]op? "),
        };
        let Some(answer) = answer else { return Answer::Stop };
        match (answer.as_str(), question.kind) {
            ("g" | "go", QuestionKind::Step | QuestionKind::Approve | QuestionKind::Point) => {
                return Answer::Go;
            }
            ("d" | "done", QuestionKind::Task) => match fields(question) {
                Some(outputs) => return Answer::Done { outputs },
                None => return Answer::Stop,
            },
            ("n" | "no" | "no-go" | "not done", QuestionKind::Task | QuestionKind::Approve) => {
                return with_reason(|reason| Answer::No { reason });
            }
            ("s" | "skip", QuestionKind::Step | QuestionKind::Task | QuestionKind::Point) => {
                return with_reason(|reason| Answer::Skip { reason });
            }
            ("r" | "roll back" | "rollback", _) => {
                return with_reason(|reason| Answer::RollBack { reason });
            }
            ("t" | "stop", _) => return Answer::Stop,
            _ => say(format_args!("  please answer with one of the letters in brackets")),
        }
    }
}

fn with_reason(answer: impl Fn(String) -> Answer) -> Answer {
    loop {
        match prompt("  why? ") {
            None => return Answer::Stop,
            Some(reason) if reason.is_empty() => {
                say(format_args!("  a reason is needed: it goes into the journal"))
            }
            Some(reason) => return answer(reason),
        }
    }
}

fn fields(question: &Question) -> Option<Outputs> {
    let mut outputs = Outputs::new();
    for (name, kind) in &question.fields {
        let about =
            kind.description.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
        loop {
            let answer = prompt(&format!("  {name}, {}{about}: ", kind.word()))?;
            if answer.is_empty() && !kind.required {
                break;
            }
            match kind.parse(&answer) {
                Ok(value) if !answer.is_empty() => {
                    outputs.insert(name.clone(), value);
                    break;
                }
                Ok(_) => say(format_args!("  it is needed")),
                Err(error) => say(format_args!("  {error}")),
            }
        }
    }
    Some(outputs)
}

/// One line, without the space around it; `None` at the end of input.
fn prompt(text: &str) -> Option<String> {
    report::ask(text);
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim().to_owned()),
    }
}
