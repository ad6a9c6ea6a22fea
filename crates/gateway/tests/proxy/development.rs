//! Certificates for development, where a listener's Secret is missing and they are asked for.

use std::{net::TcpStream, path::Path, sync::Arc};

use gateway::control::{Issued, Issuer};

use super::{
    manifests::{Served, gateway, route, secret, service},
    pki::{self, Authority, Pair},
    support::{Endpoint, status},
};

struct Local(Authority);

impl Issuer for Local {
    fn issue(&self, names: &[String]) -> Result<Issued, String> {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let Pair { certificate, key } = self.0.issue(&names);
        Ok(Issued { certificate, key })
    }

    fn authority(&self) -> &Path {
        Path::new("/data/dev-certs/ca.crt")
    }
}

const LISTENER: &str =
    "{name: web, port: 443, hostname: a.example, protocol: HTTPS, tls: {certificateRefs: [{name: own}]}}";

fn get(served: &Served, authority: &Authority) -> String {
    let tcp = TcpStream::connect(served.address(443)).unwrap();
    let mut client = pki::connected(tcp, &pki::client(authority, None), "a.example");
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    status(&client.message().0).to_owned()
}

#[test]
fn a_missing_certificate_is_made_until_there_is_one() {
    let (endpoint, real) = (Endpoint::saying("hello"), Authority::new());
    let local = Arc::new(Local(Authority::new()));
    let mut served = Served::at(&[443]);
    served.control.development = Some(local.clone());
    let manifests = [gateway("", &[LISTENER]), service(&endpoint), route()];
    let statuses = served.apply(&manifests);
    assert_eq!(get(&served, &local.0), "200");
    let said = statuses.iter().map(|update| update.status.to_string()).collect::<String>();
    assert!(said.contains("which the authority in /data/dev-certs/ca.crt has made"), "{said}");
    let own = secret("own", &real.issue(&["a.example"]));
    served.apply(&[&manifests[..], &[own]].concat());
    assert_eq!(get(&served, &real), "200");
}

#[test]
fn without_being_asked_for_none_is_made() {
    let mut served = Served::at(&[443]);
    served.apply(&[gateway("", &[LISTENER])]);
    assert!(TcpStream::connect(served.address(443)).is_err());
}

#[test]
fn a_certificate_that_is_broken_is_not_replaced() {
    let mut served = Served::at(&[443]);
    served.control.development = Some(Arc::new(Local(Authority::new())));
    let broken = secret("own", &Pair { certificate: "none".to_owned(), key: "none".to_owned() });
    served.apply(&[gateway("", &[LISTENER]), broken]);
    assert!(TcpStream::connect(served.address(443)).is_err());
}
