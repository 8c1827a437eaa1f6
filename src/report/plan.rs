//! A runbook before its run: steps in order of execution with their values, estimates, critical
//! path, and what has no undo.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use super::line::shorten;
use super::lines::Lines;
use crate::message::printable;
use crate::runbook::action::{Action, Value};
use crate::runbook::graph::critical_path;
use crate::runbook::{Runbook, Span, Step, StepIx, Text, Undo};

/// For people. `names` gives the values a step sees, as far as they are known before the run.
pub fn plan_text(runbook: &Runbook, names: &dyn Fn(StepIx) -> Json) -> Lines {
    let mut out = Lines::default();
    let top = names(StepIx(0));
    let title = runbook
        .title
        .as_ref()
        .map(|title| format!(": {}", render(title, &top)))
        .unwrap_or_default();
    out.line(format_args!("{}{title}", runbook.name));
    if let Some(owner) = &runbook.owner {
        out.line(format_args!("owner       {owner}"));
    }
    for (name, parameter) in &runbook.scopes[0].parameters {
        let value = parameter.value.value(&Json::Null).unwrap_or_default();
        out.line(format_args!("parameter   {name} = {}", shorten(&printable(&plain(&value)), 100)));
    }
    if let Some(stand_ins) = &runbook.stand_ins {
        out.line(format_args!(
            "stand-ins   {}, from {}",
            stand_ins.programs.join(", "),
            stand_ins.folder.display()
        ));
    }
    for guard in &runbook.guards {
        let of = |ix: Option<StepIx>, none: &str| {
            ix.map_or_else(|| none.to_owned(), |ix| runbook.step(ix).id.to_string())
        };
        let (from, until) = (of(guard.from, "the beginning"), of(guard.until, "the end"));
        out.line(format_args!(
            "guard       {} from {from} to {until}, every {}; breach: {}",
            guard.name, guard.analysis.every, guard.on_breach
        ));
    }
    let budgets = runbook.budgets;
    for (what, budget) in [
        ("downtime", budgets.downtime),
        ("rollback", budgets.rollback),
        ("duration", budgets.duration),
    ] {
        if let Some(budget) = budget {
            out.line(format_args!(
                "budget      {what} {}; breach: {}",
                budget.limit, budget.on_breach
            ));
        }
    }
    let (path, longest) = critical_path(runbook);
    let critical: HashSet<StepIx> = path.iter().copied().collect();
    let total: Span = runbook.steps.iter().filter_map(|step| step.estimate).sum();
    let unknown = runbook.steps.iter().filter(|step| step.estimate.is_none()).count();
    out.line(format_args!(
        "estimate    {longest} along the critical path (*), {total} of work, {unknown} of {} steps \
         without an estimate",
        runbook.steps.len()
    ));
    let mut phase = u32::MAX;
    for ix in runbook.ixs() {
        let step = runbook.step(ix);
        if step.phase != phase {
            phase = step.phase;
            out.space();
            out.line(format_args!("{}", runbook.phases[phase as usize].id));
        }
        step_lines(&mut out, step, &names(ix), critical.contains(&ix));
    }
    let without: Vec<&str> = runbook.without_undo().map(|ix| &*runbook.step(ix).id).collect();
    if !without.is_empty() {
        out.space();
        out.line(format_args!("without undo: a rollback stops and asks at"));
        without.iter().for_each(|step| out.line(format_args!("  {step}")));
    }
    out
}

fn step_lines(out: &mut Lines, step: &Step, names: &Json, is_critical: bool) {
    let inside = step.id.split_once('/').map_or(&*step.id, |(_, name)| name);
    let marks = [
        step.role.as_deref().map(|role| format!("by {role}")),
        step.estimate.map(|span| format!("about {span}")),
        step.downtime.map(|downtime| {
            format!(
                "downtime {}",
                if downtime == crate::runbook::Downtime::Begins { "begins" } else { "ends" }
            )
        }),
        step.point_of_no_return.then(|| "point of no return".to_owned()),
        step.hold.as_ref().map(|_| "holds".to_owned()),
        (!step.when.is_empty()).then(|| {
            format!(
                "when {}",
                step.when
                    .iter()
                    .map(|when| when.condition.source())
                    .collect::<Vec<_>>()
                    .join(" and ")
            )
        }),
    ];
    let marks: Vec<String> = marks.into_iter().flatten().collect();
    let title =
        step.title.as_ref().map(|title| printable(&render(title, names))).unwrap_or_default();
    let star = if is_critical { '*' } else { ' ' };
    out.line(format_args!(
        " {star} {inside}  {title}{}",
        if marks.is_empty() { String::new() } else { format!("  [{}]", marks.join(", ")) }
    ));
    out.line(format_args!("     {:<7} {}", step.act.action.kind(), action(step, names)));
    let values: Vec<String> = values(step, names)
        .into_iter()
        .map(|(name, value)| format!("{name}={}", shorten(&value.replace('\n', " "), 40)))
        .collect();
    if !values.is_empty() {
        out.line(format_args!("     with    {}", shorten(&printable(&values.join("  ")), 100)));
    }
    let undo = match &step.undo {
        Undo::Nothing => return,
        Undo::Unknown => "NONE GIVEN".to_owned(),
        Undo::Act(act) => crate::runbook::action::in_words(&act.action, names),
    };
    out.line(format_args!("     undo    {}", first_line(&undo)));
}

/// The variables of a step's command and the parameters of its statement, by name; secrets by
/// theirs.
fn values(step: &Step, names: &Json) -> Vec<(String, String)> {
    let variable = |(name, value): (&String, &Value<Text>)| match value {
        Value::Text(text) => (name.clone(), render(text, names)),
        Value::Secret { name: secret, .. } => (name.clone(), format!("(the secret {secret})")),
    };
    let mut values: Vec<(String, String)> = step.act.env.iter().map(variable).collect();
    if let Ok(Action::Sql(sql)) = step.act.action.render(names) {
        values.extend(sql.given.iter().map(|(name, given)| (format!(":{name}"), given.in_words())));
        values.extend(
            sql.parameters
                .into_iter()
                .map(|(name, value)| (format!(":{name}"), plain(&value.into_json()))),
        );
    }
    values
}

fn action(step: &Step, names: &Json) -> String {
    first_line(&crate::runbook::action::in_words(&step.act.action, names))
}

fn first_line(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default().trim();
    let more = lines.count();
    let first = shorten(&printable(first), 100);
    if more > 0 { format!("{first}  (+{more} lines)") } else { first }
}

/// For programs.
pub fn plan_json(runbook: &Runbook, names: &dyn Fn(StepIx) -> Json) -> Json {
    let (path, longest) = critical_path(runbook);
    let steps: Vec<Json> = runbook
        .ixs()
        .map(|ix| {
            let (step, names) = (runbook.step(ix), names(ix));
            let undo = match &step.undo {
                Undo::Nothing => json!("nothing"),
                Undo::Unknown => Json::Null,
                Undo::Act(act) => json!(crate::runbook::action::in_words(&act.action, &names)),
            };
            json!({
                "id": step.id,
                "phase": runbook.phases[step.phase as usize].id,
                "title": step.title.as_ref().map(|title| render(title, &names)),
                "role": step.role,
                "action": step.act.action.kind(),
                "does": crate::runbook::action::in_words(&step.act.action, &names),
                "with": values(step, &names)
                    .into_iter()
                    .collect::<std::collections::BTreeMap<_, _>>(),
                "undo": undo,
                "needs": step.needs.iter().map(|need| &runbook.step(*need).id).collect::<Vec<_>>(),
                "estimate_ms": step.estimate.map(Span::as_millis),
                "when": step.when.iter().map(|when| when.condition.source()).collect::<Vec<_>>(),
                "file": step.file,
                "line": step.line,
            })
        })
        .collect();
    let id = |ix: &StepIx| runbook.step(*ix).id.clone();
    json!({
        "runbook": runbook.name,
        "environment": runbook.environment,
        "owner": runbook.owner,
        "stand_ins": runbook.stand_ins,
        "critical_path": path.iter().map(id).collect::<Vec<_>>(),
        "estimate_ms": longest.as_millis(),
        "without_undo": runbook.without_undo().map(|ix| id(&ix)).collect::<Vec<_>>(),
        "steps": steps,
    })
}

/// As a Mermaid flowchart.
pub fn plan_mermaid(runbook: &Runbook) -> Lines {
    let mut out = Lines::default();
    out.line(format_args!("flowchart TD"));
    for (number, phase) in runbook.phases.iter().enumerate() {
        out.line(format_args!("  subgraph {}", phase.id));
        for ix in runbook.ixs().filter(|ix| runbook.step(*ix).phase as usize == number) {
            out.line(format_args!("    s{}[\"{}\"]", ix.0, quoted(runbook.step(ix))));
        }
        out.line(format_args!("  end"));
    }
    for ix in runbook.ixs() {
        for need in &runbook.step(ix).needs {
            out.line(format_args!("  s{} --> s{}", need.0, ix.0));
        }
    }
    out
}

/// As a Graphviz graph.
pub fn plan_dot(runbook: &Runbook) -> Lines {
    let mut out = Lines::default();
    out.line(format_args!("digraph runbook {{"));
    out.line(format_args!("  rankdir=TB; node [shape=box];"));
    for ix in runbook.ixs() {
        out.line(format_args!("  s{} [label=\"{}\"];", ix.0, quoted(runbook.step(ix))));
        for need in &runbook.step(ix).needs {
            out.line(format_args!("  s{} -> s{};", need.0, ix.0));
        }
    }
    out.line(format_args!("}}"));
    out
}

fn quoted(step: &Step) -> String {
    step.id.replace(['"', '\\'], "'")
}

fn render(text: &Text, names: &Json) -> String {
    text.render(names).unwrap_or_else(|_| text.source().to_owned())
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
