//! Questions to a name server and its answers, over TCP: nothing is cut short there, and nothing is
//! lost.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{Name, RData, Record, RecordType, TSigVerifier, TSigner};

use super::record::{Key, Records, shown};
use crate::effect::bare;
use crate::runbook::zone::RecordKind;

/// How long a server may take to be reached, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What kept an answer from coming.
#[derive(Debug, Clone)]
pub struct NoAnswer {
    /// Whether the server may have read the message.
    pub is_sent: bool,
    pub words: String,
}

/// A server by its name or address, of which one with colons may stand in brackets.
///
/// # Errors
/// If it has no address.
pub fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found: Vec<SocketAddr> = (bare(host), port)
        .to_socket_addrs()
        .map_err(|error| format!("{host} has no address that can be found: {error}"))?
        .collect();
    if found.is_empty() { Err(format!("{host} has no address")) } else { Ok(found) }
}

/// Sends a message, signed if there is a key, and returns the answer, whose signature is verified.
pub fn exchange(
    addresses: &[SocketAddr],
    message: Message,
    signer: Option<&TSigner>,
) -> Result<Message, NoAnswer> {
    Conversation::begin(addresses, message, signer)?.answer()
}

/// Every record of a zone (AXFR), its SOA record first.
pub fn transfer(
    addresses: &[SocketAddr],
    zone: &Name,
    signer: &TSigner,
) -> Result<Vec<Record>, NoAnswer> {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(zone.clone(), RecordType::AXFR));
    let mut conversation = Conversation::begin(addresses, message, Some(signer))?;
    let mut records: Vec<Record> = Vec::new();
    loop {
        let answer = conversation.answer()?;
        let failed = |words: String| Err(NoAnswer { is_sent: true, words });
        match answer.metadata.response_code {
            ResponseCode::NoError if answer.answers.is_empty() => {
                return failed("it sends no records".to_owned());
            }
            ResponseCode::NoError => records.extend(answer.answers),
            other => {
                return failed(format!(
                    "it answered {} when it was asked for all records",
                    code(other)
                ));
            }
        }
        // The first record stands at the end again.
        if records.len() > 1
            && records.last().is_some_and(|last| last.record_type() == RecordType::SOA)
        {
            records.pop();
            return Ok(records);
        }
    }
}

/// A question that was sent, whose answers come one by one.
struct Conversation<'a> {
    stream: TcpStream,
    id: u16,
    signed: Option<(&'a TSigner, TSigVerifier)>,
}

impl Conversation<'_> {
    fn begin<'a>(
        addresses: &[SocketAddr],
        mut message: Message,
        signer: Option<&'a TSigner>,
    ) -> Result<Conversation<'a>, NoAnswer> {
        let before = |words: String| NoAnswer { is_sent: false, words };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let verifier = match signer {
            Some(signer) => message
                .finalize(signer, now)
                .map_err(|error| before(format!("it could not be signed: {error}")))?,
            None => None,
        };
        let bytes = message
            .to_vec()
            .map_err(|error| before(format!("the message cannot be sent: {error}")))?;
        let size =
            u16::try_from(bytes.len()).map_err(|_| before("the message is too long".to_owned()))?;
        let mut last = before("it has no address".to_owned());
        for address in addresses {
            match TcpStream::connect_timeout(address, PATIENCE) {
                Ok(mut stream) => {
                    stream
                        .set_read_timeout(Some(PATIENCE))
                        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
                        .map_err(unanswered)?;
                    stream
                        .write_all(&[&size.to_be_bytes(), bytes.as_slice()].concat())
                        .map_err(unanswered)?;
                    return Ok(Conversation {
                        stream,
                        id: message.metadata.id,
                        signed: signer.zip(verifier),
                    });
                }
                Err(error) => last = before(format!("it cannot be reached: {error}")),
            }
        }
        Err(last)
    }

    fn answer(&mut self) -> Result<Message, NoAnswer> {
        let after = |words: String| NoAnswer { is_sent: true, words };
        let mut length = [0; 2];
        self.stream.read_exact(&mut length).map_err(unanswered)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        self.stream.read_exact(&mut answer).map_err(unanswered)?;
        let read = Message::from_vec(&answer)
            .map_err(|error| after(format!("its answer cannot be read: {error}")))?;
        if read.metadata.id != self.id {
            return Err(after("its answer is to another question".to_owned()));
        }
        let Some((signer, verifier)) = &mut self.signed else { return Ok(read) };
        let key = signer.signer_name();
        let error = read.signature().and_then(|signature| signature.data.error);
        let refused = |words: String| NoAnswer { is_sent: false, words };
        match error {
            Some(TsigError::BadKey) => {
                return Err(refused(format!(
                    "it does not know the key {key} with this algorithm (BADKEY); compare both \
                     with its configuration"
                )));
            }
            Some(TsigError::BadSig) => {
                return Err(refused(format!(
                    "its key {key} is another one (BADSIG); compare the secret with its \
                     configuration"
                )));
            }
            Some(TsigError::BadTime) => {
                return Err(refused(
                    "its clock and the one here differ too much (BADTIME); set them right"
                        .to_owned(),
                ));
            }
            Some(error) => return Err(refused(format!("it refuses the signature ({error:?})"))),
            None if read.signature().is_none() => {
                return Err(NoAnswer {
                    is_sent: read.metadata.response_code == ResponseCode::NoError,
                    words: format!(
                        "its answer ({}) is not signed",
                        code(read.metadata.response_code)
                    ),
                });
            }
            None => drop(verifier.verify(&answer).map_err(|error| {
                after(format!("its answer is not signed with the key {key}: {error}"))
            })?),
        }
        Ok(read)
    }
}

fn unanswered(error: std::io::Error) -> NoAnswer {
    let words = match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            format!("it did not answer within {}s", PATIENCE.as_secs())
        }
        std::io::ErrorKind::UnexpectedEof => {
            "it closed the connection without an answer".to_owned()
        }
        _ => format!("it did not answer: {error}"),
    };
    NoAnswer { is_sent: true, words }
}

/// What an answer says about the records that were asked for: nothing only if there certainly are
/// none.
///
/// # Errors
/// If it does not say.
pub fn answered(answer: &Message, key: &Key) -> Result<Option<Records>, String> {
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        other => return Err(format!("it answered {}", code(other))),
    }
    let said = if is_referral(answer, key) { &answer.authorities } else { &answer.answers };
    let own: Vec<&Record> = said.iter().filter(|record| record.name == key.name).collect();
    let found: Vec<&&Record> =
        own.iter().filter(|record| record.record_type() == key.record_type()).collect();
    if let (true, Some(other)) =
        (found.is_empty(), own.iter().find(|record| record.record_type() == RecordType::CNAME))
    {
        return Err(format!(
            "{} is a CNAME ({}), beside which there is nothing else",
            key.name,
            shown(&other.data).unwrap_or_default()
        ));
    }
    let Some(ttl) = found.iter().map(|record| record.ttl).min() else { return Ok(None) };
    let values = found.iter().map(|record| {
        shown(&record.data).ok_or_else(|| format!("the value {} cannot be read", record.data))
    });
    let mut values = values.collect::<Result<Vec<String>, String>>()?;
    // Servers answer in any order.
    values.sort();
    Ok(Some(Records { ttl, values, ..Records::default() }))
}

/// Whether a server that should know the zone does: it answers for it, or it is asked where the
/// name is delegated to.
pub fn has_authority(answer: &Message, key: &Key) -> bool {
    let is_answer =
        matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
    !is_answer || answer.metadata.authoritative || is_referral(answer, key)
}

/// The name servers of a name that the zone delegates are no answer of its own.
fn is_referral(answer: &Message, key: &Key) -> bool {
    let is_delegated =
        |record: &Record| record.name == key.name && record.record_type() == RecordType::NS;
    key.kind == RecordKind::Ns
        && !answer.metadata.authoritative
        && answer.answers.is_empty()
        && answer.authorities.iter().any(is_delegated)
}

/// For how long a resolver may keep saying that there is nothing, in seconds.
pub fn negative_ttl(answer: &Message) -> Option<u32> {
    answer.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    })
}

/// A response code as operators know it.
pub fn code(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::YXDomain => "YXDOMAIN".to_owned(),
        ResponseCode::YXRRSet => "YXRRSET".to_owned(),
        ResponseCode::NXRRSet => "NXRRSET".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        ResponseCode::NotZone => "NOTZONE".to_owned(),
        other => other.to_string(),
    }
}
