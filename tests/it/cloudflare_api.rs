//! A stand-in for Cloudflare's API of zones and DNS records, as far as the program asks it: **it is
//! not the real one.** Its rules, and the words of its refusals, are Cloudflare's documentation's
//! and those that people have reported of it. It keeps records in memory.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value as Json, json};

pub const TOKEN: &str = "token-of-the-test";
const ZONE: (&str, &str) = ("023e105f4ecef8ad9ca31a8372d0c353", "example.test");

/// A refusal of its own: the status, the code, the words, and perhaps the code and the words behind
/// them.
type Refusal = (&'static str, u32, &'static str, Option<(u32, &'static str)>);

pub const BAD_TOKEN: Refusal = ("403 Forbidden", 10000, "Authentication error", None);
pub const TOO_MANY: Refusal =
    ("429 Too Many Requests", 971, "Please wait and consider throttling your request speed", None);
const NO_ROUTE: Refusal = (
    "404 Not Found",
    7003,
    "Could not route to that path, perhaps your object identifier is invalid?",
    None,
);
const NO_RECORD: Refusal = ("404 Not Found", 81044, "Record does not exist.", None);
const IDENTICAL: Refusal = ("400 Bad Request", 81058, "An identical record already exists.", None);
const SAME_HOST: Refusal =
    ("400 Bad Request", 81053, "An A, AAAA, or CNAME record with that host already exists.", None);
const BAD_TTL: Refusal = (
    "400 Bad Request",
    1004,
    "DNS Validation Error",
    Some((9021, "TTL must be between 60 and 86400 seconds, or 1 for Automatic.")),
);
const BAD_ADDRESS: Refusal = (
    "400 Bad Request",
    1004,
    "DNS Validation Error",
    Some((9005, "Content for A record must be a valid IPv4 address.")),
);
/// The types that may not stand beside a CNAME of the same name.
const HOSTS: [&str; 3] = ["A", "AAAA", "CNAME"];

/// What happens to one request, which is the next one of this method.
pub enum Mishap {
    /// It is refused, and nothing is done.
    Refused(Refusal),
    /// The same, with the status 200.
    RefusedAsWell(Refusal),
    /// It is done, and of its answer only the beginning arrives.
    CutAfter,
    /// It is read, and the connection is closed.
    ClosedBefore,
    /// Somebody else changes the records just before it.
    Meanwhile(fn(&mut Vec<Json>)),
}

#[derive(Default)]
pub struct World {
    pub records: Vec<Json>,
    /// The method and path of every request.
    pub requests: Vec<String>,
    /// It never puts more on a page, whatever it is asked for.
    pub page: usize,
    pub mishaps: VecDeque<(&'static str, Mishap)>,
}

pub struct StandIn {
    port: u16,
    world: Arc<Mutex<World>>,
}

impl StandIn {
    pub fn begin(records: &Json) -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let world =
            World { records: records.as_array().unwrap().clone(), page: 5000, ..World::default() };
        let stand_in = StandIn {
            port: listener.local_addr().unwrap().port(),
            world: Arc::new(Mutex::new(world)),
        };
        let world = Arc::clone(&stand_in.world);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &mut world.lock().unwrap());
            }
        });
        stand_in
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/client/v4", self.port)
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn writes(&self) -> usize {
        self.world().requests.iter().filter(|request| !request.starts_with("GET")).count()
    }
}

/// One request and its answer; then the connection ends.
fn answer(stream: TcpStream, world: &mut World) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length, mut token) = (String::new(), 0, String::new());
    if reader.read_line(&mut head).unwrap_or(0) == 0 {
        return;
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "authorization" => token = value.trim().trim_start_matches("Bearer ").to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Json = serde_json::from_slice(&body).unwrap_or(Json::Null);
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    world.requests.push(format!("{method} {path}"));
    let next = world.mishaps.iter().position(|(of, _)| *of == method);
    let mishap = next.and_then(|at| world.mishaps.remove(at)).map(|(_, mishap)| mishap);
    if let Some(Mishap::Meanwhile(change)) = mishap {
        change(&mut world.records);
    }
    let said = match mishap {
        Some(Mishap::ClosedBefore) => return,
        Some(Mishap::Refused(refusal) | Mishap::RefusedAsWell(refusal)) => Err(refusal),
        _ if token != TOKEN => Err(BAD_TOKEN),
        _ => result(world, &method, path.strip_prefix("/client/v4").unwrap_or_default(), &body),
    };
    let (mut status, text) = match said {
        Ok(envelope) => ("200 OK", envelope),
        Err(refusal) => (refusal.0, envelope(&refusal)),
    };
    if matches!(mishap, Some(Mishap::RefusedAsWell(_))) {
        status = "200 OK";
    }
    let text = text.to_string();
    let sent =
        if matches!(mishap, Some(Mishap::CutAfter)) { &text[..text.len() / 2] } else { &text };
    let _ = write!(
        reader.get_mut(),
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\
         \nConnection: close\r\n\r\n{sent}",
        text.len()
    );
}

/// An error as it is said.
fn envelope((_, code, message, behind): &Refusal) -> Json {
    let mut error = json!({ "code": code, "message": message });
    if let Some((code, message)) = behind {
        error["error_chain"] = json!([{ "code": code, "message": message }]);
    }
    json!({ "success": false, "errors": [error], "messages": [], "result": null })
}

/// One page of a list.
fn page(all: &[Json], query: &dyn Fn(&str) -> Option<String>, most: usize) -> Json {
    let number =
        |name: &str, otherwise: usize| query(name).map_or(otherwise, |text| text.parse().unwrap());
    let (page, size) = (number("page", 1).max(1), number("per_page", 100).min(most));
    let found: Vec<Json> = all.iter().skip((page - 1) * size).take(size).cloned().collect();
    let info = json!({
        "page": page,
        "per_page": size,
        "count": found.len(),
        "total_count": all.len(),
        "total_pages": all.len().div_ceil(size),
    });
    json!({ "success": true, "errors": [], "messages": [], "result": found, "result_info": info })
}

fn result(world: &mut World, method: &str, path: &str, body: &Json) -> Result<Json, Refusal> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let query = |name: &str| {
        query
            .split('&')
            .find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    };
    let (id, name) = ZONE;
    if (method, path) == ("GET", "/zones") {
        let zone =
            json!({ "id": id, "name": name, "status": "active", "name_servers": ["a.ns.example"] });
        // Those that the token may see, and that are asked for.
        let all: Vec<Json> = Some(zone)
            .filter(|_| query("name").is_none_or(|wanted| wanted == name))
            .into_iter()
            .collect();
        return Ok(page(&all, &query, 50));
    }
    let Some(path) = path.strip_prefix(&format!("/zones/{id}/dns_records")) else {
        return Err(NO_ROUTE);
    };
    match (method, path) {
        ("GET", "") => {
            let is = |record: &Json, key: &str| {
                query(key).is_none_or(|wanted| record[key] == wanted.as_str())
            };
            let all: Vec<Json> = world
                .records
                .iter()
                .filter(|record| is(record, "type") && is(record, "name"))
                .cloned()
                .collect();
            Ok(page(&all, &query, world.page))
        }
        ("POST", "/batch") => {
            // All of it or nothing.
            let mut records = world.records.clone();
            batch(&mut records, body, world.requests.len())?;
            world.records = records;
            Ok(json!({ "success": true, "errors": [], "messages": [], "result": {} }))
        }
        _ => Err(NO_ROUTE),
    }
}

/// In its order: what goes, what is changed, what comes.
fn batch(records: &mut Vec<Json>, body: &Json, number: usize) -> Result<(), Refusal> {
    let of = |name: &str| body[name].as_array().cloned().unwrap_or_default();
    let find = |records: &[Json], wanted: &Json| {
        records.iter().position(|record| record["id"] == wanted["id"]).ok_or(NO_RECORD)
    };
    for deleted in of("deletes") {
        records.remove(find(records, &deleted)?);
    }
    for patch in of("patches") {
        let at = find(records, &patch)?;
        let mut record = records[at].clone();
        record.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        is_valid(&record, records)?;
        records[at] = record;
    }
    for (at, mut record) in of("posts").into_iter().enumerate() {
        record["id"] = format!("new{number}-{at}").into();
        record["proxied"] = record["proxied"].as_bool().unwrap_or(false).into();
        is_valid(&record, records)?;
        records.push(record);
    }
    Ok(())
}

/// Whether a record may stand among the others.
fn is_valid(record: &Json, records: &[Json]) -> Result<(), Refusal> {
    if !record["ttl"].as_u64().is_some_and(|ttl| ttl == 1 || (60..=86400).contains(&ttl)) {
        return Err(BAD_TTL);
    }
    if record["type"] == "A"
        && record["content"].as_str().is_none_or(|text| text.parse::<Ipv4Addr>().is_err())
    {
        return Err(BAD_ADDRESS);
    }
    let mut same_name = records
        .iter()
        .filter(|other| other["id"] != record["id"] && other["name"] == record["name"]);
    let is_host = |record: &Json| HOSTS.iter().any(|kind| record["type"] == *kind);
    let is_alias = |other: &Json| {
        is_host(other)
            && is_host(record)
            && (other["type"] == "CNAME") != (record["type"] == "CNAME")
    };
    let is_same = |other: &Json| {
        ["type", "content", "priority", "data"].iter().all(|key| other[*key] == record[*key])
    };
    match same_name.find(|other| is_same(other) || is_alias(other)) {
        None => Ok(()),
        Some(other) => Err(if is_same(other) { IDENTICAL } else { SAME_HOST }),
    }
}
