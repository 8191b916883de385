//! What the guard costs: a request head as a load generator sends it, and one as a browser does. Target: 0.5 µs.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::guard::{Asked, RequestGuard, ResponseGuard};

const LOAD: &[u8] = b"GET /api/projects/42?page=2&size=50 HTTP/1.1\r\n\
Host: 127.0.0.1:8080\r\n\
User-Agent: wrk/4.2.0\r\n\
Accept: application/json\r\n\
\r\n";

const BROWSER: &[u8] = b"GET /api/projects/42/classifications?page=2&size=50&sort=-created HTTP/1.1\r\n\
Host: app.example.com\r\n\
Connection: keep-alive\r\n\
sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
Accept: application/json, text/plain, */*\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: cors\r\n\
Sec-Fetch-Dest: empty\r\n\
Referer: https://app.example.com/projects/42\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cookie: _ga=GA1.1.1234567890.1234567890\r\n\
\r\n";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
date: Mon, 06 Oct 2025 10:00:00 GMT\r\n\
server: uvicorn\r\n\
content-length: 16\r\n\
content-type: application/json\r\n\
\r\n\
{\"id\": 42, \"x\":1}";

fn guard(c: &mut Criterion) {
    let mut group = c.benchmark_group("guard");
    for (name, head) in [("load", LOAD), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        let mut guard = RequestGuard::default();
        group.bench_function(format!("request/{name}/{}B", head.len()), |b| {
            b.iter(|| assert_eq!(guard.step(black_box(head)).map(|step| step.released), Ok(head.len())));
        });
    }
    let answer = &ANSWER[..ANSWER.len() - 1];
    group.throughput(Throughput::Bytes(answer.len() as u64));
    let mut guard = ResponseGuard::default();
    group.bench_function(format!("response/{}B", answer.len()), |b| {
        b.iter(|| {
            guard.begin(Asked::Content);
            assert_eq!(guard.feed(black_box(answer)), Ok(answer.len()));
        });
    });
    group.finish();
}

criterion_group!(benches, guard);
criterion_main!(benches);
