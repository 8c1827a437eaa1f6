//! One raw action to its domain form. Reports what a schema cannot say: two actions, a retry that
//! is not safe, an unknown secret.

use indexmap::IndexMap;

use super::action::*;
use super::copy::{Copy, Table, Throttle};
use super::database::{Database, Encryption, Server};
use super::given::Given;
use super::model::{Act, DryRun, Probe, Retry, Undo};
use super::parameter::Kind;
use super::problem::{Place, Problem, suggest};
use super::raw::*;
use super::source::Mark;
use super::traffic::{
    Analysis, Commands, Haproxy, Nginx, Prometheus, Shift, Source, Traffic, Weighted, growth,
};
use super::zone::raw::RawZone;
use super::{Condition, Span, Text};

const ACTIONS: &str =
    "run, sql, http, copy, dns, propagation, shift, wait, notify, task, approve or runbook";

/// What the conversion of one step needs to know, and the problems it finds.
pub struct Converter<'a> {
    /// The step's node in its file.
    pub mark: &'a Mark,
    /// Where the step's key stands.
    pub place: Place,
    /// What stands under `secrets`.
    pub secrets: &'a IndexMap<String, RawSecret>,
    /// What stands under `databases`.
    pub databases: &'a IndexMap<String, RawDatabase>,
    /// What stands under `traffic`.
    pub traffic: &'a IndexMap<String, RawTraffic>,
    /// What stands under `zones`.
    pub zones: &'a IndexMap<String, RawZone>,
    pub problems: &'a mut Vec<Problem>,
}

impl Converter<'_> {
    /// The act of a step, an undo or a release. `below` is the way from the step to it; `env` is
    /// what it inherits.
    pub fn act(
        &mut self,
        raw: &RawAct,
        below: &[&str],
        env: &IndexMap<String, Value<Text>>,
    ) -> Option<Act> {
        let mut action = self.action(raw, below)?;
        self.keep(&mut action, raw.keep_output.as_deref(), below);
        let mut env = env.clone();
        env.extend(self.values(&raw.env, below, "env"));
        if let Some(RawRun::Map(map)) = &raw.run {
            env.extend(self.values(&map.env, below, "env"));
        }
        let idempotent = raw.idempotent.unwrap_or(
            action.only_reads() || action.goes_on() || matches!(action, Action::Notify(_)),
        );
        if raw.retry.is_some() && !idempotent {
            let help = "say `idempotent: true` if doing it twice does no harm; without it, a \
                failed attempt may have had its effect";
            self.report(
                below,
                "retry",
                "a step that is not idempotent is never repeated by itself".into(),
                Some(help.into()),
            );
        }
        if raw.timeout.is_some() && action.is_for_a_person() {
            let help = "people are not stopped; the run waits, and `resolve` or `cancel` ends it";
            self.report(
                below,
                "timeout",
                "a task or an approval has no timeout".into(),
                Some(help.into()),
            );
        }
        let wait_timeout = match (&raw.wait, &raw.propagation) {
            (Some(RawWait::Until(until)), _) => until.timeout.as_deref(),
            (_, Some(propagation)) => propagation.timeout.as_deref(),
            _ => None,
        };
        if wait_timeout.is_some() && raw.timeout.is_some() {
            let message = format!("the timeout stands here and under `{}`", action.kind());
            self.report(below, "timeout", message, Some("keep one of the two".into()));
        }
        let probe = raw.probe.as_ref().and_then(|probe| self.probe(probe, below));
        Some(Act {
            action,
            env,
            timeout: span(raw.timeout.as_deref().or(wait_timeout)),
            retry: raw.retry.as_ref().map(|retry| Retry {
                attempts: retry.attempts,
                backoff: span(retry.backoff.as_deref()).unwrap_or(Span::from_secs(1)),
                max_backoff: span(retry.max_backoff.as_deref()).unwrap_or(Span::from_secs(60)),
                jitter: retry.jitter.unwrap_or(0.1),
            }),
            idempotent,
            probe,
            expect: match &raw.expect {
                None => Vec::new(),
                Some(OneOrMany::One(one)) => vec![condition(one)],
                Some(OneOrMany::Many(many)) => many.iter().map(|one| condition(one)).collect(),
            },
            capture: raw
                .capture
                .iter()
                .map(|(name, source)| (name.clone(), condition(source)))
                .collect(),
        })
    }

    /// The undo of a step whose own act is `act`.
    pub fn undo(&mut self, raw: Option<&RawUndo>, act: &Act) -> Undo {
        match raw {
            Some(RawUndo::None(_)) => Undo::Nothing,
            Some(RawUndo::Act(raw)) => {
                // What a step leaves is gone once the run is over, and a run that is over can be
                // undone: only an undo that asks for it itself needs it.
                let is_passing =
                    |name: &str| self.secrets.get(name).is_some_and(|secret| secret.step.is_some());
                let lasting =
                    act.env.iter().filter(|(_, value)| !value.secret().is_some_and(is_passing));
                let env = lasting.map(|(name, value)| (name.clone(), value.clone())).collect();
                self.act(&raw.act, &["undo"], &env)
                    .map_or(Undo::Nothing, |act| Undo::Act(Box::new(act)))
            }
            None if act.action.only_reads() || matches!(act.action, Action::Notify(_)) => {
                Undo::Nothing
            }
            // It knows what it found or wrote, and takes that back.
            None => match act.action.inverse() {
                Some(action) => Undo::Act(Box::new(Act {
                    action,
                    timeout: None,
                    expect: Vec::new(),
                    capture: IndexMap::new(),
                    probe: None,
                    ..act.clone()
                })),
                None => Undo::Unknown,
            },
        }
    }

    /// What a dry run does in the place of a step whose own act is `act`.
    pub fn dry_run(&mut self, raw: Option<&RawDryRun>, act: &Act) -> DryRun {
        match raw {
            None => DryRun::Look,
            Some(RawDryRun::Word(DryRunWord::Same)) => {
                if act.action.is_for_a_person()
                    || matches!(
                        act.action,
                        Action::Copy(_) | Action::Dns(_) | Action::Shift(_) | Action::Notify(_)
                    )
                {
                    let message = format!(
                        "a {} changes something or asks somebody, so a dry run cannot do the same",
                        act.action.kind()
                    );
                    self.report(
                        &[],
                        "dry_run",
                        message,
                        Some("leave it out: a dry run looks by itself".into()),
                    );
                }
                DryRun::Same
            }
            Some(RawDryRun::Word(DryRunWord::None)) => DryRun::Nothing,
            Some(RawDryRun::Act(raw)) => {
                let Some(own) = self.act(&raw.act, &["dry_run"], &act.env) else {
                    return DryRun::Look;
                };
                if !own.action.only_reads() && !matches!(own.action, Action::Run(_))
                    || matches!(own.action, Action::Approve(_))
                {
                    let message = format!(
                        "what is done in a dry run may only read, and this is a {}",
                        own.action.kind()
                    );
                    self.report(
                        &["dry_run"],
                        own.action.kind(),
                        message,
                        Some("give it a query, a GET, or a command that changes nothing".into()),
                    );
                }
                DryRun::Act(Box::new(own))
            }
        }
    }

    fn action(&mut self, raw: &RawAct, below: &[&str]) -> Option<Action<Text>> {
        let named: Vec<&str> = [
            ("run", raw.run.is_some()),
            ("sql", raw.sql.is_some()),
            ("http", raw.http.is_some()),
            ("copy", raw.copy.is_some()),
            ("dns", raw.dns.is_some()),
            ("propagation", raw.propagation.is_some()),
            ("wait", raw.wait.is_some()),
            ("shift", raw.shift.is_some()),
            ("notify", raw.notify.is_some()),
            ("task", raw.task.is_some()),
            ("approve", raw.approve.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect();
        self.exactly_one(&named, below)?;
        Some(if let Some(run) = &raw.run {
            Action::Run(self.run(run, below)?)
        } else if let Some(sql) = &raw.sql {
            Action::Sql(self.sql(sql, below)?)
        } else if let Some(http) = &raw.http {
            Action::Http(self.http(http, below)?)
        } else if let Some(copy) = &raw.copy {
            Action::Copy(self.copy(copy, below)?)
        } else if let Some(dns) = &raw.dns {
            Action::Dns(self.dns(dns, below)?)
        } else if let Some(propagation) = &raw.propagation {
            Action::Propagation(self.propagation(propagation, below)?)
        } else if let Some(wait) = &raw.wait {
            match wait {
                RawWait::For(time) => Action::Wait(Wait::For(text(time))),
                RawWait::Until(until) => {
                    let mut way = below.to_vec();
                    way.extend(["wait", "probe"]);
                    let probe = Box::new(self.read(&until.probe.read, &way)?);
                    let every = span(until.every.as_deref()).unwrap_or(Span::from_secs(5));
                    Action::Wait(Wait::Until {
                        until: condition(&until.until),
                        probe,
                        every,
                        stable: until.stable.unwrap_or(1),
                    })
                }
            }
        } else if let Some(shift) = &raw.shift {
            Action::Shift(self.shift(shift, below)?)
        } else if let Some(notify) = &raw.notify {
            Action::Notify(self.notify(notify, below)?)
        } else if let Some(task) = &raw.task {
            Action::Task(match task {
                RawTask::Instructions(words) => {
                    Task { instructions: text(words), fields: IndexMap::new() }
                }
                RawTask::Map(map) => Task {
                    instructions: text(&map.instructions),
                    fields: map
                        .fields
                        .iter()
                        .map(|(name, field)| (name.clone(), Kind::from(field)))
                        .collect(),
                },
            })
        } else {
            let question = match raw.approve.as_ref()? {
                RawApprove::Question(question) => question,
                RawApprove::Map(map) => &map.question,
            };
            Action::Approve(Approve { question: text(question) })
        })
    }

    /// Reports none or several actions; both are as easily a slip of the indentation as of the
    /// mind.
    pub fn exactly_one(&mut self, named: &[&str], below: &[&str]) -> Option<()> {
        let message = match named {
            [_] => return Some(()),
            [] => "there is no action here".to_owned(),
            several => format!("there are {} actions here: {}", several.len(), several.join(", ")),
        };
        let help = if named.is_empty() {
            format!("give it one of {ACTIONS}")
        } else {
            "make a step of each".to_owned()
        };
        let place = below.last().map_or(self.place, |_| self.key_place(below));
        self.problems.push(Problem::new(place, message, Some(help)));
        None
    }

    /// A command that only reads has the variables of what it reads for.
    fn reading_run(&mut self, raw: &RawRun, below: &[&str]) -> Option<Run<Text>> {
        if matches!(raw, RawRun::Map(map) if !map.env.is_empty()) {
            let help =
                "give them to the `env` of the step, or of the runbook for a guard".to_owned();
            self.report(
                below,
                "run",
                "a command that only reads has no variables of its own".into(),
                Some(help),
            );
        }
        self.run(raw, below)
    }

    fn run(&mut self, raw: &RawRun, below: &[&str]) -> Option<Run<Text>> {
        let default_shell = || vec!["/bin/sh".to_owned(), "-euc".to_owned()];
        Some(match raw {
            RawRun::Script(script) => Run {
                command: Command::Script { shell: default_shell(), script: script.clone() },
                cwd: None,
                stdin: None,
                keep_output: None,
            },
            RawRun::Arguments(list) => Run {
                command: self.arguments(list, below)?,
                cwd: None,
                stdin: None,
                keep_output: None,
            },
            RawRun::Map(map) => {
                let command = match (&map.script, &map.command) {
                    (Some(script), None) => Command::Script {
                        shell: map.shell.clone().unwrap_or_else(default_shell),
                        script: script.clone(),
                    },
                    (None, Some(list)) => self.arguments(list, below)?,
                    _ => {
                        self.report(
                            below,
                            "run",
                            "exactly one of script and command belongs here".into(),
                            None,
                        );
                        return None;
                    }
                };
                Run {
                    command,
                    cwd: map.cwd.as_deref().map(text),
                    stdin: map.stdin.as_deref().map(text),
                    keep_output: None,
                }
            }
        })
    }

    fn arguments(&mut self, list: &[RawScalar], below: &[&str]) -> Option<Command<Text>> {
        if list.is_empty() {
            self.report(
                below,
                "run",
                "the list of arguments is empty".into(),
                Some("the first item is the program".into()),
            );
            return None;
        }
        Some(Command::Arguments(list.iter().map(scalar_text).collect()))
    }

    fn sql(&mut self, raw: &RawSql, below: &[&str]) -> Option<Sql<Text>> {
        let (sql, reads) = match (&raw.statement, &raw.query) {
            (Some(statement), None) => (statement, false),
            (None, Some(query)) => (query, true),
            _ => {
                let help = "a query only reads and has rows; a statement changes something";
                self.report(
                    below,
                    "sql",
                    "exactly one of statement and query belongs here".into(),
                    Some(help.into()),
                );
                return None;
            }
        };
        if !raw.attach.is_empty()
            && self.databases.get(&raw.database).is_some_and(|found| found.sqlite.is_none())
        {
            self.report(below, "sql", "only an SQLite file can have others attached".into(), None);
        }
        let (mut parameters, mut given) = (IndexMap::new(), IndexMap::new());
        for (name, value) in &raw.parameters {
            let scalar = match value {
                RawParameterOfSql::Text(source) => RawScalar::Text(source.clone()),
                RawParameterOfSql::Bool(value) => RawScalar::Bool(*value),
                RawParameterOfSql::Number(value) => RawScalar::Number(value.clone()),
                RawParameterOfSql::Given(raw) => {
                    given.insert(name.clone(), self.given(name, raw, below)?);
                    continue;
                }
            };
            parameters.insert(name.clone(), scalar_argument(&scalar));
        }
        Some(Sql {
            database: self.database(&raw.database, "sql", below)?,
            attach: raw.attach.iter().map(|(name, path)| (name.clone(), text(path))).collect(),
            text: sql.clone(),
            reads,
            parameters,
            given,
            transaction: raw.transaction.unwrap_or(!reads),
            keep_output: None,
        })
    }

    /// A value of a statement that is known only at the moment of use.
    fn given(&mut self, name: &str, raw: &RawGiven, below: &[&str]) -> Option<Given<Text>> {
        match (&raw.secret, &raw.database, &raw.query) {
            (Some(secret), None, None) => {
                let used = RawSecretUse {
                    secret: secret.clone(),
                    prefix: raw.prefix.clone(),
                    form: SecretForm::Value,
                };
                let value = IndexMap::from([(name.to_owned(), RawValue::Secret(used))]);
                self.values(&value, below, "sql").shift_remove(name).map(Given::Secret)
            }
            (None, Some(database), Some(query)) if raw.prefix.is_empty() => {
                Some(Given::Query(Box::new(Sql {
                    database: self.database(database, "sql", below)?,
                    attach: IndexMap::new(),
                    text: query.clone(),
                    reads: true,
                    parameters: IndexMap::new(),
                    given: IndexMap::new(),
                    transaction: false,
                    keep_output: None,
                })))
            }
            _ => {
                let help = "write `{ secret: name }`, perhaps with `prefix`, or \
                    `{ database: name, query: … }`";
                self.report(
                    below,
                    "sql",
                    format!("the value of `:{name}` is neither a secret nor a query"),
                    Some(help.into()),
                );
                None
            }
        }
    }

    /// One of the runbook's databases by its name, or a file.
    fn database(&mut self, name: &str, key: &str, below: &[&str]) -> Option<Database<Text>> {
        let Some(raw) = self.databases.get(name) else {
            // What looks like a name and is close to one was meant as that.
            let close = suggest(name, self.databases.keys().map(String::as_str));
            if let Some(help) = close.filter(|_| !name.contains(['/', '.', '{'])) {
                self.report(below, key, format!("there is no database `{name}`"), Some(help));
                return None;
            }
            return Some(Database::Sqlite(text(name)));
        };
        Some(match (&raw.sqlite, &raw.postgres, &raw.mysql) {
            (Some(file), ..) => Database::Sqlite(text(file)),
            (_, Some(server), _) => Database::Postgres(self.server(server, "5432", below)),
            (.., Some(server)) => Database::Mysql(self.server(server, "3306", below)),
            _ => return None,
        })
    }

    fn server(&mut self, raw: &RawServer, port: &str, below: &[&str]) -> Server<Text> {
        let password: IndexMap<String, RawValue> = raw
            .password
            .iter()
            .map(|used| ("password".to_owned(), RawValue::Secret(used.clone())))
            .collect();
        Server {
            host: text(&raw.host),
            port: raw.port.as_ref().map_or_else(|| text(port), scalar_text),
            database: text(&raw.database),
            user: text(&raw.user),
            password: self.values(&password, below, "sql").shift_remove("password"),
            encryption: match &raw.tls {
                None => Encryption::Local,
                Some(RawServerTls::Word(NoTls::None)) => Encryption::None,
                Some(RawServerTls::Map(raw)) => Encryption::Tls(tls(raw)),
            },
        }
    }

    fn copy(&mut self, raw: &RawCopy, below: &[&str]) -> Option<Copy<Text>> {
        let (from, to) =
            (self.database(&raw.from, "copy", below)?, self.database(&raw.to, "copy", below)?);
        let tables: IndexMap<String, Table> = match &raw.tables {
            RawTables::Names(names) => {
                names.iter().map(|name| (name.clone(), Table::default())).collect()
            }
            RawTables::Map(map) => map
                .iter()
                .map(|(name, into)| (name.clone(), Table { into: Some(into.clone()) }))
                .collect(),
        };
        if tables.is_empty() {
            self.report(below, "copy", "there is no table to copy".into(), None);
        }
        let throttle = match &raw.throttle {
            Some(raw) => {
                let mut way = below.to_vec();
                way.extend(["copy", "throttle"]);
                let every = span(raw.every.as_deref()).unwrap_or(Span::from_secs(1));
                Some(Throttle {
                    probe: Box::new(self.read(&raw.read, &way)?),
                    until: condition(&raw.until),
                    every,
                })
            }
            None => None,
        };
        Some(Copy {
            from,
            to,
            tables,
            chunk: raw.chunk,
            parallel: raw.parallel.unwrap_or(1),
            verify: raw.verify.unwrap_or(true),
            verify_only: raw.verify_only.unwrap_or(false),
            sequence_margin: raw.sequence_margin.unwrap_or(0),
            throttle,
            removes: false,
        })
    }

    fn http(&mut self, raw: &RawHttp, below: &[&str]) -> Option<Http<Text>> {
        let body = match (&raw.body, &raw.json) {
            (Some(body), None) => Some(Body::Text(text(body))),
            (None, Some(json)) => Some(Body::Json(Argument::from_json(json).ok()?)),
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.report(
                    below,
                    "http",
                    "body and json stand side by side".into(),
                    Some("keep one of the two".into()),
                );
                return None;
            }
        };
        if !matches!(raw.method, Method::Get | Method::Head)
            && matches!(raw.follow, Some(Follow::SameOrigin | Follow::Any))
        {
            let help =
                "leave `follow` out, and look at `status` and `location` in `expect`".to_owned();
            let message = format!(
                "a redirect that answers a {} is not followed: it would hide that the change was \
                 made",
                raw.method.word()
            );
            self.report(below, "http", message, Some(help));
        }
        Some(Http {
            method: raw.method,
            url: text(&raw.url),
            headers: self.values(&raw.headers, below, "http"),
            body,
            tls: raw.tls.as_ref().map(tls),
            follow: raw.follow.unwrap_or_default(),
            keep_output: None,
        })
    }

    fn shift(&mut self, raw: &RawShift, below: &[&str]) -> Option<Shift<Text>> {
        let steps = match (raw.to, &raw.steps) {
            (Some(to), None) => vec![to],
            (None, Some(RawSteps::List(steps))) if !steps.is_empty() => steps.clone(),
            (None, Some(RawSteps::Growth(raw))) => match growth(raw) {
                Ok(steps) => steps,
                Err(why) => {
                    self.report(
                        below,
                        "shift",
                        why,
                        Some("as in `steps: { by: 20 }` or `steps: { from: 5, times: 2 }`".into()),
                    );
                    return None;
                }
            },
            _ => {
                self.report(
                    below,
                    "shift",
                    "exactly one of `to` and `steps` belongs here".into(),
                    Some("as in `steps: [10, 50, 100]`".into()),
                );
                return None;
            }
        };
        let analysis: Vec<_> =
            raw.analysis.iter().filter_map(|analysis| self.analysis(analysis, below)).collect();
        Some(Shift {
            name: raw.traffic.clone(),
            traffic: self.traffic(&raw.traffic, below)?,
            steps,
            bake: span(raw.bake.as_deref()).unwrap_or_default(),
            analysis,
            back: raw.back,
            restores: false,
        })
    }

    fn traffic(&mut self, name: &str, below: &[&str]) -> Option<Traffic<Text>> {
        let Some(raw) = self.traffic.get(name) else {
            let help = suggest(name, self.traffic.keys().map(String::as_str))
                .or_else(|| Some("declare it under `traffic`".into()));
            self.report(below, "shift", format!("there is no traffic `{name}`"), help);
            return None;
        };
        let all = |list: &[RawScalar]| list.iter().map(scalar_text).collect::<Vec<_>>();
        let (traffic, commands) = match (&raw.haproxy, &raw.nginx, &raw.dns, &raw.run) {
            (Some(raw), ..) => {
                let (from, to) = (text(&raw.from), text(&raw.to));
                (
                    Traffic::Haproxy(Haproxy {
                        socket: text(&raw.socket),
                        backend: text(&raw.backend),
                        from,
                        to,
                    }),
                    vec![],
                )
            }
            (_, Some(raw), ..) => {
                let (test, reload) = (all(&raw.test), all(&raw.reload));
                (
                    Traffic::Nginx(Nginx {
                        file: text(&raw.file),
                        from: text(&raw.from),
                        to: text(&raw.to),
                        test,
                        reload,
                    }),
                    vec![&raw.reload],
                )
            }
            (_, _, Some(raw), _) => {
                let zone = self.zone(&raw.zone, below, "shift")?;
                if !zone.has_weights() {
                    let help = Some("use `run` with commands of its own".into());
                    self.report(
                        below,
                        "shift",
                        format!("the records of the zone `{}` have no weights", raw.zone),
                        help,
                    );
                }
                let (name, from, to) = (text(&raw.name), text(&raw.from), text(&raw.to));
                (Traffic::Dns(Weighted { zone, name, kind: raw.kind, from, to }), vec![])
            }
            (.., Some(raw)) => (
                Traffic::Run(Commands { set: all(&raw.set), get: all(&raw.get) }),
                vec![&raw.set, &raw.get],
            ),
            _ => return None,
        };
        if commands.iter().any(|command| command.is_empty()) {
            let help = Some("the first item is the program".into());
            self.report(
                below,
                "shift",
                format!("a command of the traffic `{name}` is empty"),
                help,
            );
        }
        Some(traffic)
    }

    fn analysis(&mut self, raw: &RawAnalysis, below: &[&str]) -> Option<Analysis<Text>> {
        let mut way = below.to_vec();
        way.extend(["shift", "analysis"]);
        let analysis = self.measure(&raw.measure, &format!("the analysis `{}`", raw.name), &way)?;
        Some(Analysis {
            name: raw.name.clone(),
            initial_delay: span(raw.initial_delay.as_deref()).unwrap_or_default(),
            failure_limit: raw.failure_limit,
            ..analysis
        })
    }

    /// What is read, and what it says. `what` names it for people.
    pub fn measure(
        &mut self,
        raw: &RawMeasure,
        what: &str,
        way: &[&str],
    ) -> Option<Analysis<Text>> {
        let (below, key) = way.split_at(way.len() - 1);
        let readings =
            [raw.prometheus.is_some(), raw.http.is_some(), raw.sql.is_some(), raw.run.is_some()];
        let is_one = readings.iter().filter(|there| **there).count() == 1
            && raw.prometheus.is_some() == raw.query.is_some();
        if !is_one || raw.baseline.is_some() && raw.query.is_none() {
            let help = Some(
                "give it prometheus with a query (and perhaps a baseline), http, sql, or run"
                    .into(),
            );
            self.report(below, key[0], format!("{what} needs exactly one reading"), help);
            return None;
        }
        let mut source = match (&raw.prometheus, &raw.query, &raw.http, &raw.sql, &raw.run) {
            (Some(server), Some(query), ..) => {
                let none = IndexMap::new();
                let (url, headers, certificates) = match server {
                    RawPrometheus::Url(url) => (url, &none, None),
                    RawPrometheus::Map(map) => (&map.url, &map.headers, map.tls.as_ref()),
                };
                Source::Prometheus(Prometheus {
                    url: text(url),
                    headers: self.values(headers, way, "headers"),
                    tls: certificates.map(tls),
                    query: text(query),
                    baseline: raw.baseline.as_deref().map(text),
                })
            }
            (_, _, Some(http), ..) => Source::Read(Box::new(Action::Http(self.http(http, way)?))),
            (_, _, _, Some(sql), _) => Source::Read(Box::new(Action::Sql(self.sql(sql, way)?))),
            (.., Some(run)) => Source::Read(Box::new(Action::Run(self.reading_run(run, way)?))),
            _ => return None,
        };
        match &mut source {
            Source::Read(action) => self.keep(action, raw.keep_output.as_deref(), way),
            Source::Prometheus(_) if raw.keep_output.is_some() => {
                let message = "the answer of a Prometheus is read whole or not at all".to_owned();
                self.report(way, "keep_output", message, Some("leave `keep_output` out".into()));
            }
            Source::Prometheus(_) => {}
        }
        if let Source::Read(action) = &source
            && !matches!(**action, Action::Run(_))
            && !action.only_reads()
        {
            let help = Some("use a GET or HEAD request, or a query".into());
            self.report(below, key[0], format!("{what} must only read"), help);
        }
        if raw.success.is_none() && raw.failure.is_none() {
            let help = Some("give it `success`, `failure`, or both".into());
            self.report(below, key[0], format!("nothing says when {what} is good"), help);
        }
        Some(Analysis {
            name: what.to_owned(),
            source,
            success: raw.success.as_deref().map(condition),
            failure: raw.failure.as_deref().map(condition),
            every: span(raw.every.as_deref()).unwrap_or(Span::from_secs(5)),
            initial_delay: Span::ZERO,
            failure_limit: 0,
        })
    }

    fn notify(&mut self, raw: &RawNotify, below: &[&str]) -> Option<Notify<Text>> {
        let content = match (&raw.template, &raw.subject, &raw.body) {
            (Some(name), None, None) => Content::Template(name.clone()),
            (None, Some(subject), Some(body)) => {
                Content::Words { subject: text(subject), body: text(body) }
            }
            _ => {
                self.report(
                    below,
                    "notify",
                    "a message is a template, or a subject with a body".into(),
                    None,
                );
                return None;
            }
        };
        Some(Notify { content, to: raw.to.iter().map(|to| text(to)).collect() })
    }

    fn probe(&mut self, raw: &RawProbe, below: &[&str]) -> Option<Probe> {
        let mut way = below.to_vec();
        way.push("probe");
        Some(Probe {
            action: self.read(&raw.read, &way)?,
            done: condition(&raw.done),
            not_done: condition(&raw.not_done),
        })
    }

    fn read(&mut self, raw: &RawRead, way: &[&str]) -> Option<Action<Text>> {
        let named: Vec<&str> =
            [("run", raw.run.is_some()), ("sql", raw.sql.is_some()), ("http", raw.http.is_some())]
                .into_iter()
                .filter_map(|(name, there)| there.then_some(name))
                .collect();
        self.exactly_one(&named, way)?;
        let mut action = match (&raw.run, &raw.sql, &raw.http) {
            (Some(run), ..) => Action::Run(self.reading_run(run, way)?),
            (_, Some(sql), _) => Action::Sql(self.sql(sql, way)?),
            (.., Some(http)) => Action::Http(self.http(http, way)?),
            _ => return None,
        };
        self.keep(&mut action, raw.keep_output.as_deref(), way);
        if !action.only_reads() && !matches!(action, Action::Run(_)) {
            let help = "use a `query`, or a GET or HEAD request".to_owned();
            self.report(way, named[0], "a probe must only read".into(), Some(help));
        }
        Some(action)
    }

    /// Tells an action how much of what it says is to be kept.
    fn keep(&mut self, action: &mut Action<Text>, raw: Option<&str>, way: &[&str]) {
        let Some(size) = raw.and_then(|raw| raw.parse().ok()) else { return };
        let kind = action.kind();
        match action.keep_output() {
            Some(kept) => *kept = Some(size),
            None => {
                let help = "put it beside the `run`, `sql` or `http` that is read, as in a `probe`"
                    .to_owned();
                self.report(
                    way,
                    "keep_output",
                    format!("a {kind} says nothing of which a part could be kept"),
                    Some(help),
                );
            }
        }
    }

    /// Environment variables or headers.
    pub fn values(
        &mut self,
        raw: &IndexMap<String, RawValue>,
        below: &[&str],
        key: &str,
    ) -> IndexMap<String, Value<Text>> {
        let mut values = IndexMap::new();
        for (name, value) in raw {
            if key == "env" && !is_variable(name) {
                let help =
                    "letters, digits and `_`, not beginning with a digit or with SWITCHOVER_"
                        .to_owned();
                self.report(
                    below,
                    key,
                    format!("`{name}` cannot be an environment variable"),
                    Some(help),
                );
            }
            let value = match value {
                RawValue::Text(source) => Value::Text(text(source)),
                RawValue::Bool(value) => Value::Text(text(&value.to_string())),
                RawValue::Number(value) => Value::Text(text(&value.to_string())),
                RawValue::Secret(used) => {
                    if !self.secrets.contains_key(&used.secret) {
                        let help = suggest(&used.secret, self.secrets.keys().map(String::as_str))
                            .or_else(|| Some("declare it under `secrets`".into()));
                        self.report(
                            below,
                            key,
                            format!("the secret `{}` is not declared", used.secret),
                            help,
                        );
                    }
                    if used.form == SecretForm::File && key != "env" {
                        self.report(
                            below,
                            key,
                            "only a command can be given a secret in a file".to_owned(),
                            None,
                        );
                    }
                    Value::Secret {
                        name: used.secret.clone(),
                        prefix: used.prefix.clone(),
                        form: used.form,
                    }
                }
            };
            values.insert(name.clone(), value);
        }
        values
    }

    pub fn report(&mut self, below: &[&str], key: &str, message: String, help: Option<String>) {
        let mut way = below.to_vec();
        way.push(key);
        let place = self.key_place(&way);
        self.problems.push(Problem::new(place, message, help));
    }

    /// The place of the last key of `way` that stands in the file.
    fn key_place(&self, way: &[&str]) -> Place {
        let (mut mark, mut place) = (self.mark, self.place);
        for key in way {
            let Some(found) = mark.key(key) else { break };
            place = found;
            mark = mark.get(key).unwrap_or(mark);
        }
        place
    }
}

/// Syntax was checked by the schema walk; a template that got past it fails when it is rendered.
pub fn text(source: &str) -> Text {
    Text::from(source)
}

fn tls(raw: &RawTls) -> Tls<Text> {
    Tls {
        ca: raw.ca.as_deref().map(text),
        cert: raw.cert.as_deref().map(text),
        key: raw.key.as_deref().map(text),
    }
}

fn condition(source: &str) -> Condition {
    Condition::compile(source).unwrap_or_default()
}

pub fn span(source: Option<&str>) -> Option<Span> {
    source.and_then(|source| source.parse().ok())
}

pub fn scalar_text(raw: &RawScalar) -> Text {
    match raw {
        RawScalar::Text(source) => text(source),
        RawScalar::Bool(value) => text(&value.to_string()),
        RawScalar::Number(value) => text(&value.to_string()),
    }
}

fn scalar_argument(raw: &RawScalar) -> Argument<Text> {
    match raw {
        RawScalar::Text(source) if source.contains("{{") => Argument::Text(text(source)),
        RawScalar::Text(source) => Argument::Plain(source.clone().into()),
        RawScalar::Bool(value) => Argument::Plain((*value).into()),
        RawScalar::Number(value) => Argument::Plain(value.clone().into()),
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with("SWITCHOVER_")
}
