//! Just enough of an HTTP/1.1 client: one connection, and waiting until something answers.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a connection's bytes travel over.
pub trait Transport: Read + Write + Send {}

impl<T: Read + Write + Send> Transport for T {}

/// A connection that requests are sent on one after the other.
pub struct Client(BufReader<Box<dyn Transport>>);

impl Client {
    /// A connection, inside TLS if `tls` says how.
    ///
    /// # Errors
    /// What the operating system says, or why the handshake failed.
    pub fn connect(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let Some(config) = tls else { return Ok(Self(BufReader::with_capacity(2048, Box::new(stream)))) };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self(BufReader::with_capacity(2048, Box::new(StreamOwned::new(connection, stream)))))
    }

    /// The head of the answer to a GET; its body has been read.
    ///
    /// # Errors
    /// The connection failed or ended.
    pub fn get(&mut self, path: &str) -> io::Result<String> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    }

    /// Sends the bytes of a request, and reads the answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn send(&mut self, request: &[u8]) -> io::Result<String> {
        self.0.get_mut().write_all(request)?;
        self.0.get_mut().flush()?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed after {head:?}")));
            }
        }
        let length = field(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        io::copy(&mut (&mut self.0).take(length), &mut io::sink())?;
        Ok(head)
    }
}

/// A field of a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// A head's status.
pub fn code(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// The status of a GET on a connection of its own.
pub fn status(address: SocketAddr, path: &str) -> io::Result<u16> {
    Ok(code(&testkit::get(address, path)?))
}

/// Asks until the answer is 200; the time since `start`.
pub fn wait_for_200(address: SocketAddr, path: &str, start: Instant) -> anyhow::Result<Duration> {
    let mut last = String::new();
    while start.elapsed() < Duration::from_secs(60) {
        match status(address, path) {
            Ok(200) => return Ok(start.elapsed()),
            Ok(other) => last = other.to_string(),
            Err(error) => last = error.to_string(),
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("{address} does not answer 200: {last}")
}
