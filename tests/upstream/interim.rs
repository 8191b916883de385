//! Interim answers: told as they come, of whichever connection carries the request in the end.

use std::sync::{Arc, Mutex};

use larder::upstream::{How, OnInterim};

use crate::harness::{OK, accept, get, how, listen, read, upstream, within};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";

/// What was told, as status and `Link`.
type Told = Arc<Mutex<Vec<(u16, String)>>>;

fn listening() -> (Told, How) {
    let told = Told::default();
    let heard = Arc::clone(&told);
    let interim = OnInterim::new(move |status, headers| {
        let link = headers.get("link").map_or("", |link| link.to_str().unwrap());
        heard.lock().unwrap().push((status.as_u16(), link.to_owned()));
    });
    (told, How { interim: Some(interim), ..how() })
}

#[tokio::test]
async fn all_that_comes_before_the_answer_is_told_in_order_and_only_to_its_request() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut peer = accept(&listener).await;
        peer.answer(&format!("HTTP/1.1 100 Continue\r\n\r\n{HINTS}HTTP/1.1 102 Processing\r\n\r\n{OK}"))
            .await;
        peer.answer(&format!("{HINTS}{OK}")).await;
    };
    let client = async {
        let upstream = upstream([origin]);
        let (told, how_told) = listening();
        assert_eq!(read(within(upstream.send(get(), how_told)).await.unwrap()).await, "ok");
        let expected = [(100, String::new()), (103, "</a>".into()), (102, String::new())];
        assert_eq!(*told.lock().unwrap(), expected);
        let next = within(upstream.send(get(), how())).await.unwrap();
        assert!(!next.headers().contains_key("link"));
        assert_eq!(read(next).await, "ok");
        assert_eq!(told.lock().unwrap().len(), 3);
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn what_comes_on_the_second_try_is_told_too() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut first = accept(&listener).await;
        first.answer(OK).await;
        first.head().await;
        drop(first);
        accept(&listener).await.answer(&format!("{HINTS}{OK}")).await;
    };
    let client = async {
        let upstream = upstream([origin]);
        read(within(upstream.send(get(), how())).await.unwrap()).await;
        let (told, how_told) = listening();
        assert_eq!(read(within(upstream.send(get(), how_told)).await.unwrap()).await, "ok");
        assert_eq!(*told.lock().unwrap(), [(103, "</a>".to_owned())]);
    };
    tokio::join!(script, client);
}
