//! From a question to an answer: the protocol side of cluster DNS. No I/O.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME, SOA, SRV},
    },
};

use super::zone::{Records, Zone};

/// Seconds that clients may keep an answer (as CoreDNS in a cluster: short, because endpoints move).
const TTL: u32 = 5;

/// What to do with a question.
#[derive(Debug)]
pub enum Reply {
    /// Send this.
    Answer(Message),
    /// The name is not ours: ask a resolver of the machine.
    Forward,
    /// Not a question at all (an answer, or garbage): say nothing, so that no two servers ever echo each other.
    Drop,
}

/// Answers one message from the zone.
pub fn answer(message: &Message, zone: &Zone) -> Reply {
    if message.metadata.message_type != MessageType::Query {
        return Reply::Drop;
    }
    if message.metadata.op_code != OpCode::Query {
        return Reply::Answer(failure(message, ResponseCode::NotImp));
    }
    let [question] = message.queries.as_slice() else {
        return Reply::Answer(failure(message, ResponseCode::FormErr));
    };
    let asked = question.name().to_lowercase().to_ascii();
    let asked = asked.trim_end_matches('.');
    if !zone.is_ours(asked) {
        return Reply::Forward;
    }
    let mut reply = failure(message, ResponseCode::NoError);
    reply.metadata.authoritative = true;
    match zone.lookup(asked) {
        None => reply.metadata.response_code = ResponseCode::NXDomain,
        Some(records) => fill(&mut reply, question, &records, zone),
    }
    if reply.answers.is_empty() {
        reply.authorities.extend(start_of_authority(zone));
    }
    Reply::Answer(reply)
}

/// An empty answer to `message` with this code.
pub fn failure(message: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(message.metadata.id, message.metadata.op_code);
    reply.metadata.recursion_desired = message.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.queries = message.queries.clone();
    reply
}

fn fill(reply: &mut Message, question: &Query, records: &Records, zone: &Zone) {
    let wants = |kind| question.query_type() == kind || question.query_type() == RecordType::ANY;
    let name = question.name();
    if let Some(target) = records.cname.as_deref().and_then(parse) {
        // The client's resolver follows the alias: it may lead outside the cluster.
        reply.answers.push(Record::from_rdata(name.clone(), TTL, RData::CNAME(CNAME(target))));
        return;
    }
    if wants(RecordType::A) {
        let addresses = records.a.iter().map(|ip| Record::from_rdata(name.clone(), TTL, RData::A(A(*ip))));
        reply.answers.extend(addresses);
    }
    if wants(RecordType::SRV) {
        for (port, host) in &records.srv {
            let Some(target) = parse(host) else { continue };
            let addresses = zone.lookup(host).map(|r| r.a).unwrap_or_default();
            let addresses = addresses.iter().map(|ip| Record::from_rdata(target.clone(), TTL, RData::A(A(*ip))));
            reply.additionals.extend(addresses);
            let srv = RData::SRV(SRV::new(0, 100, *port, target));
            reply.answers.push(Record::from_rdata(name.clone(), TTL, srv));
        }
    }
}

/// Tells clients how long they may remember that there is nothing (RFC 2308).
fn start_of_authority(zone: &Zone) -> Option<Record> {
    let soa = SOA::new(
        parse(&format!("ns.dns.{}", zone.domain()))?,
        parse(&format!("hostmaster.{}", zone.domain()))?,
        1,
        7200,
        1800,
        86400,
        TTL,
    );
    Some(Record::from_rdata(parse(zone.domain())?, TTL, RData::SOA(soa)))
}

fn parse(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn zone() -> Zone {
        let service = json!({"metadata": {"name": "api", "namespace": "prod"},
            "spec": {"clusterIP": "10.43.0.9", "ports": [{"name": "http", "port": 80}]}});
        Zone::build("cluster.local", &[Arc::new(serde_json::from_value(service).unwrap())], &[])
    }

    fn ask(name: &str, kind: RecordType) -> Reply {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        answer(&message, &zone())
    }

    fn answered(name: &str, kind: RecordType) -> Message {
        match ask(name, kind) {
            Reply::Answer(message) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_are_matched_whatever_their_case() {
        let reply = answered("API.Prod.svc.cluster.local.", RecordType::A);
        assert_eq!(reply.metadata.id, 7);
        assert!(matches!(reply.answers[0].data, RData::A(A(ip)) if ip.to_string() == "10.43.0.9"));
    }

    #[test]
    fn a_name_without_that_kind_of_record_is_no_data_and_an_unknown_name_is_nxdomain() {
        let none = answered("api.prod.svc.cluster.local.", RecordType::AAAA);
        assert_eq!(
            (none.metadata.response_code, none.answers.len(), none.authorities.len()),
            (ResponseCode::NoError, 0, 1)
        );
        let unknown = answered("nope.prod.svc.cluster.local.", RecordType::A);
        assert_eq!((unknown.metadata.response_code, unknown.authorities.len()), (ResponseCode::NXDomain, 1));
    }

    #[test]
    fn a_srv_answer_brings_the_address_along() {
        let reply = answered("_http._tcp.api.prod.svc.cluster.local.", RecordType::SRV);
        assert_eq!((reply.answers.len(), reply.additionals.len()), (1, 1));
    }

    #[test]
    fn other_names_are_forwarded_and_answers_are_dropped() {
        assert!(matches!(ask("example.com.", RecordType::A), Reply::Forward));
        let response = Message::response(1, OpCode::Query);
        assert!(matches!(answer(&response, &zone()), Reply::Drop));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(message) = Message::from_vec(&bytes) {
                let _ = answer(&message, &zone());
            }
        }
    }
}
