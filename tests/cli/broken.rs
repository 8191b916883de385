//! Who looks on when the connection breaks: that is told, and it is tried again.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use crate::harness::{folder, larder, run};

/// Stands in for an admin API: each connection gets one of these streams, and is closed.
fn telling(streams: Vec<String>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heads = std::thread::spawn(move || {
        let told = streams.into_iter().map(|events| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).unwrap(), 0, "the head is whole");
            }
            let fields = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            stream.write_all(format!("{fields}{events}").as_bytes()).unwrap();
            head
        });
        told.collect()
    });
    (address, heads)
}

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn figures(uptime: u32, requests: u32) -> String {
    let data = format!(
        r#"{{"uptime_seconds":{uptime},"totals":{{"requests":{{"all":{requests},"hit":{requests}}}}}}}"#
    );
    event("figures", &data)
}

#[test]
fn stat_goes_on_when_the_connection_is_back_and_compares_nothing_across_the_gap() {
    let streams = [figures(1, 10) + &figures(2, 15), figures(1, 100) + &figures(2, 107)];
    let (address, heads) = telling(streams.into());
    let ended = run(larder(&folder())
        .args(["stat", "--count", "2", "--json", "--admin", &address.to_string()])
        .env("LARDER_ADMIN_TOKEN", "t0ken"));
    ended.assert(0, &["trying again", "it is there again"]);
    let rows = ended.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let requests: Vec<_> = rows.map(|row| row["requests"].clone()).collect();
    assert_eq!(requests, [5, 7]);
    for head in heads.join().unwrap() {
        assert!(head.starts_with("GET /v1/stream?events=figures&every=1s HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: Bearer t0ken"), "{head}");
    }
}

#[test]
fn tail_says_how_many_it_missed() {
    let request = r#"{"timestamp":"2026-01-02T03:04:05.678901Z","http.request.method":"GET","url.path":"/a","http.response.status_code":200,"cache":"hit","duration_us":52}"#;
    let events =
        event("lost", r#"{"count":5,"of":"requests"}"#) + ": still here\n\n" + &event("request", request);
    let (address, heads) = telling(vec![events]);
    let ended = run(larder(&folder()).args([
        "tail",
        "--count",
        "1",
        "--status",
        "2xx,404",
        "--admin",
        &address.to_string(),
    ]));
    ended.assert(0, &["5 requests were too fast to be told"]);
    assert_eq!(ended.stdout, "03:04:05.678  200  HIT           52us  GET     /a\n");
    assert!(heads.join().unwrap()[0].contains("status=2xx%2C404"));
}

#[test]
fn what_is_no_stream_is_said_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answered = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        stream.write_all(b"HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n").unwrap();
    });
    let ended = run(larder(&folder()).args(["tail", "--admin", &address.to_string()]));
    ended.assert(1, &["asks for a token"]);
    answered.join().unwrap();
}
