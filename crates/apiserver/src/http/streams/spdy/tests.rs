//! A connection, spoken to as a client does.

use tokio::io::{AsyncReadExt, DuplexStream};

use super::{
    frame::{data, open, update},
    *,
};

/// A client that sees frames.
struct Client {
    io: DuplexStream,
    packer: Packer,
    frames: Frames,
    buffer: BytesMut,
}

impl Client {
    /// A connection, and its client with this much room between them.
    fn new(room: usize) -> (Connection, Self) {
        let (ours, io) = tokio::io::duplex(room);
        (Connection::new(ours), Self { io, packer: Packer::new(), frames: Frames::new(), buffer: BytesMut::new() })
    }

    async fn open(&mut self, id: u32, kind: &str) {
        let frame = open(id, &[("streamtype", kind)], &mut self.packer);
        self.io.write_all(&frame).await.unwrap();
    }

    async fn send(&mut self, frame: Bytes) {
        self.io.write_all(&frame).await.unwrap();
    }

    /// The next frame that is not about windows; `None` at the end.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            match self.frames.decode(&mut self.buffer).unwrap() {
                Some(Frame::Update { .. }) => {}
                Some(frame) => return Some(frame),
                None if self.io.read_buf(&mut self.buffer).await.unwrap() == 0 => return None,
                None => {}
            }
        }
    }
}

fn piece(id: u32, text: &'static str, fin: bool) -> Frame {
    Frame::Data { id, data: text.into(), fin }
}

#[tokio::test]
async fn a_stream_carries_bytes_both_ways_and_ends_one_way_at_a_time() {
    let (mut connection, mut client) = Client::new(1 << 20);
    client.open(1, "data").await;
    client.send(data(1, b"question", true)).await;
    let stream = connection.accept().await.unwrap();
    assert_eq!((stream.id, stream.header("streamtype")), (1, Some("data")));
    let (mut reader, mut writer) = stream.split();
    assert_eq!((reader.next().await, reader.next().await), (Some("question".into()), None));
    writer.send("answer".into()).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(client.next().await, Some(Frame::Headers { id: 1, fin: false }), "the reply comes first");
    assert_eq!(client.next().await, Some(piece(1, "answer", false)));
    assert_eq!(client.next().await, Some(piece(1, "", true)));
    let finished = tokio::spawn(connection.finish());
    assert_eq!((client.next().await, client.next().await), (Some(Frame::GoAway), None));
    drop(client);
    finished.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_that_is_dropped_or_may_not_be_is_reset_and_a_ping_comes_back() {
    let (mut connection, mut client) = Client::new(1 << 20);
    client.open(3, "data").await;
    drop(connection.accept().await.unwrap());
    client.open(2, "data").await;
    client.open(1, "data").await;
    client.send(ping(7)).await;
    assert_eq!(client.next().await, Some(Frame::Headers { id: 3, fin: false }));
    for id in [3, 2, 1] {
        assert_eq!(client.next().await, Some(Frame::Reset { id }));
    }
    assert_eq!(client.next().await, Some(Frame::Ping(7)));
}

#[tokio::test]
async fn a_client_that_counts_is_not_sent_more_than_it_takes() {
    let (mut connection, mut client) = Client::new(1 << 20);
    client.open(1, "data").await;
    client.send(update(1, 4)).await;
    // When the ping is answered the window has been seen.
    client.send(ping(1)).await;
    let (_reader, mut writer) = connection.accept().await.unwrap().split();
    assert_eq!(client.next().await, Some(Frame::Headers { id: 1, fin: false }));
    assert_eq!(client.next().await, Some(Frame::Ping(1)));
    let sending = tokio::spawn(async move {
        writer.send(vec![7; 70_000].into()).await.unwrap();
        writer
    });
    let mut seen = 0;
    while seen < 64 * 1024 + 4 {
        let Some(Frame::Data { data, .. }) = client.next().await else { panic!("no data after {seen} bytes") };
        seen += data.len();
    }
    assert_eq!(seen, 64 * 1024 + 4);
    assert!(!sending.is_finished());
    client.send(update(1, 10_000)).await;
    while seen < 70_000 {
        let Some(Frame::Data { data, .. }) = client.next().await else { panic!("no data after {seen} bytes") };
        seen += data.len();
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_takes_nothing_stops_the_client() {
    let (mut connection, mut client) = Client::new(64);
    client.open(1, "data").await;
    let (mut reader, _writer) = connection.accept().await.unwrap().split();
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = sent.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..10_000 {
            client.send(data(1, &[1; 1000], false)).await;
            counted.fetch_add(1000, std::sync::atomic::Ordering::SeqCst);
        }
        client.send(data(1, &[], true)).await;
        client
    });
    // What can be held is held, and no more comes.
    let mut last = usize::MAX;
    loop {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let now = sent.load(std::sync::atomic::Ordering::SeqCst);
        if now == last {
            break;
        }
        last = now;
    }
    assert!(last < 1_000_000, "{last} bytes were taken in");
    let mut read = 0;
    while let Some(data) = reader.next().await {
        read += data.len();
    }
    assert_eq!(read, 10_000_000);
    sending.await.unwrap();
}

#[tokio::test]
async fn nonsense_ends_the_connection() {
    let (mut connection, mut client) = Client::new(1 << 20);
    client.send(Bytes::from_static(b"\x80\x02nonsense")).await;
    assert!(connection.accept().await.is_none());
    assert!(connection.closed().is_cancelled() || timeout(LINGER, connection.closed().cancelled()).await.is_ok());
    assert_eq!(client.next().await, Some(Frame::GoAway));
}
