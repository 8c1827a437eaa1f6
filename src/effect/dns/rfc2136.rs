//! Zones on servers that take dynamic updates (RFC 2136): one message, signed (TSIG), that changes
//! everything or nothing, and only if the records and the zone's serial number still are what was
//! read.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};

use super::record::{Edit, Key, Records, parse, whole};
use super::wire::{NoAnswer, addresses, answered, code, exchange, has_authority, transfer};
use super::{Provider, Unwritten, unchanged};
use crate::effect::EffectError;
use crate::runbook::zone::{KeyAlgorithm, Primary, RecordKind};

/// How often an update is tried while others change the zone.
const TRIES: u32 = 20;

pub struct Server {
    shown: String,
    addresses: Vec<SocketAddr>,
    signer: TSigner,
    /// The zone's SOA record as it was before the first reading.
    start: Option<RData>,
}

pub fn open(primary: &Primary<String>, secret: &str) -> Result<Server, EffectError> {
    let Primary { server, port, key_name, algorithm, .. } = primary;
    let shown = format!("{server}:{port}");
    let before = |why: String| EffectError::before(format!("{shown}: {why}; nothing was changed"));
    let port: u16 = port.parse().map_err(|_| before(format!("`{port}` is not a port")))?;
    let key = data_encoding::BASE64
        .decode(secret.trim().as_bytes())
        .map_err(|_| before(format!("the key {key_name} is not base64")))?;
    let algorithm = match algorithm {
        KeyAlgorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
        KeyAlgorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
        KeyAlgorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
    };
    let signer = TSigner::new(key, algorithm, whole(key_name).map_err(before)?, 300)
        .map_err(|error| before(error.to_string()))?;
    Ok(Server { addresses: addresses(server, port).map_err(before)?, shown, signer, start: None })
}

impl Server {
    fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, String> {
        let mut message = Message::query();
        message.metadata.recursion_desired = false;
        message.add_query(Query::query(name.clone(), kind));
        exchange(&self.addresses, message, Some(&self.signer)).map_err(|error| error.words)
    }

    fn update(&self, edits: &[Edit]) -> Result<ResponseCode, NoAnswer> {
        let mut message = Message::query();
        message.metadata.message_type = MessageType::Query;
        message.metadata.op_code = OpCode::Update;
        message.metadata.recursion_desired = false;
        if let Some(first) = edits.first() {
            message.add_query(Query::query(first.key.zone.clone(), RecordType::SOA));
            // What must hold: the zone's serial number, and of each change exactly these records,
            // or none of the type.
            if let Some(start) = &self.start {
                message.answers.push(Record::from_rdata(first.key.zone.clone(), 0, start.clone()));
            }
        }
        for edit in edits {
            add(&mut message, edit).map_err(|words| NoAnswer { is_sent: false, words })?;
        }
        exchange(&self.addresses, message, Some(&self.signer))
            .map(|answer| answer.metadata.response_code)
    }
}

/// Adds what must hold for a change, and the change.
fn add(message: &mut Message, Edit { key, was, becomes }: &Edit) -> Result<(), String> {
    let records = |records: &Option<Records>, class: DNSClass, ttl: u32| {
        let values = records.iter().flat_map(|records| &records.values);
        values
            .map(|value| Ok(of_class(key, ttl, parse(key.kind, value, None)?, class)))
            .collect::<Result<Vec<Record>, String>>()
    };
    let nothing = |class: DNSClass| {
        let mut record = Record::update0(key.name.clone(), 0, key.record_type());
        record.dns_class = class;
        record
    };
    match was {
        Some(_) => message.answers.extend(records(was, DNSClass::IN, 0)?),
        None => message.answers.push(nothing(DNSClass::NONE)),
    }
    let added = records(becomes, DNSClass::IN, becomes.as_ref().map_or(0, |records| records.ttl))?;
    if key.kind == RecordKind::Ns {
        // A zone always has name servers: those that go are deleted one by one, after those that
        // come are there.
        let stays: Vec<RData> = added.iter().map(|record| record.data.clone()).collect();
        message.authorities.extend(added);
        let gone = records(was, DNSClass::NONE, 0)?;
        message.authorities.extend(gone.into_iter().filter(|record| !stays.contains(&record.data)));
    } else {
        message.authorities.push(nothing(DNSClass::ANY));
        message.authorities.extend(added);
    }
    Ok(())
}

fn of_class(key: &Key, ttl: u32, data: RData, class: DNSClass) -> Record {
    let mut record = Record::from_rdata(key.name.clone(), ttl, data);
    record.dns_class = class;
    record
}

impl Provider for Server {
    fn read(&mut self, key: &Key) -> Result<Option<Records>, EffectError> {
        let failed = |why: String| {
            EffectError::before(format!(
                "{key} could not be read: {}: {why}; nothing was changed",
                self.shown
            ))
        };
        let start = self.ask(&key.zone, RecordType::SOA).map_err(failed)?;
        let start = start
            .answers
            .into_iter()
            .map(|record| record.data)
            .find(|data| matches!(data, RData::SOA(_)));
        let answer = self.ask(&key.name, key.record_type()).map_err(failed)?;
        if !has_authority(&answer, key) {
            return Err(failed(format!("it has no authority for {}", key.name)));
        }
        let records =
            answered(&answer, key).map_err(|why| match answer.metadata.response_code {
                ResponseCode::Refused | ResponseCode::NotAuth => failed(format!(
                    "{why}; is it the primary server of {}, and may this key ask it?",
                    key.zone
                )),
                _ => failed(why),
            })?;
        // Without it an update would say less of what must be there.
        let start = start
            .ok_or_else(|| failed(format!("it does not say the serial number of {}", key.zone)))?;
        self.start.get_or_insert(start);
        Ok(records)
    }

    fn write(&mut self, edits: &[Edit]) -> Result<(), Unwritten> {
        let what: Vec<String> = edits.iter().map(|edit| edit.key.to_string()).collect();
        let (server, what) = (self.shown.clone(), what.join(", "));
        for attempt in 0..TRIES {
            match self.update(edits) {
                Ok(ResponseCode::NoError) => return Ok(()),
                // Something is not as it was: one of these records, or only another one of the
                // zone.
                Ok(
                    ResponseCode::NXRRSet
                    | ResponseCode::YXRRSet
                    | ResponseCode::NXDomain
                    | ResponseCode::YXDomain,
                ) => {
                    self.start = None;
                    unchanged(self, edits)?;
                    std::thread::sleep(std::time::Duration::from_millis(u64::from(attempt) * 5));
                }
                Ok(other) => {
                    let why = format!(
                        "{server}: it refused the update of {what}: {} (its log says why); nothing \
                         was changed",
                        code(other)
                    );
                    return Err(EffectError::before(why).into());
                }
                Err(NoAnswer { is_sent: false, words }) => {
                    return Err(EffectError::before(format!(
                        "{server}: {words}; nothing was changed"
                    ))
                    .into());
                }
                Err(NoAnswer { words, .. }) => {
                    return Err(EffectError::lost(format!(
                        "{server}: {words}; whether {what} was changed is not known"
                    ))
                    .into());
                }
            }
        }
        let why = "others change the zone all the time, or the record comes from a wildcard; \
            nothing was changed";
        Err(EffectError::before(format!(
            "{server}: the update of {what} was refused {TRIES} times: {why}"
        ))
        .into())
    }

    fn size(&mut self, key: &Key) -> Result<usize, EffectError> {
        let records = transfer(&self.addresses, &key.zone, &self.signer).map_err(|error| {
            let (server, why) = (&self.shown, error.words);
            EffectError::before(format!(
                "the records of {} could not be counted: {server}: {why}; for `at_most` the server \
                 must allow the key a transfer (AXFR); nothing was changed",
                key.zone
            ))
        })?;
        Ok(records
            .iter()
            .map(|record| (record.name.to_lowercase(), record.record_type()))
            .collect::<BTreeSet<_>>()
            .len())
    }
}
