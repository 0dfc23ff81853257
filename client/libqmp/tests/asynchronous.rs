//! The asynchronous client.

#![cfg(feature = "tokio")]
// Tests may fail by panicking, in what they share too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use faultvisor_schema::{Empty, MachineReturn};
use futures_core::Stream;
use libqmp::asynchronous::{BlockIoErrorEvent, Events, Session};
use libqmp::{Closing, Error, ErrorClass, PutEventArguments};
use support::{PATIENCE, Server, options, scripted};

async fn session(server: &Server) -> Session {
    Session::connect_with(&server.address(), options())
        .await
        .unwrap()
}

/// The next item of a stream, without a dependency for it.
async fn next<T: libqmp::EventData>(
    stream: &mut Events<T>,
) -> Option<Result<libqmp::Occurrence<T>, Error>> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

#[tokio::test]
async fn commands_are_async_functions() {
    let server = Server::new();
    let session = session(&server).await;
    assert!(session.query_status().await.unwrap().running);
    let refused = session
        .put_event(&PutEventArguments { tag: 9 })
        .await
        .unwrap_err();
    assert_eq!(refused.class(), Some(&ErrorClass::InvalidParameterValue));
    // Both are in flight, and the later one overtakes.
    let (reset, connected) = tokio::join!(session.system_reset(), async {
        let connected = session
            .execute_raw_out_of_band("get-stop-event", None)
            .await;
        server
            .commands
            .recv()
            .unwrap()
            .1
            .send(Ok(MachineReturn::Empty(Empty {})));
        connected
    });
    reset.unwrap();
    assert!(connected.unwrap().is_i64());
}

#[tokio::test]
async fn events_are_streams() {
    let server = Server::new();
    let session = session(&server).await;
    let mut errors: BlockIoErrorEvent = session.get_block_io_error_event().await.unwrap();
    for number in 0..10 {
        server.fail("disk0", number);
    }
    for number in 0..10 {
        let error = next(&mut errors).await.unwrap().unwrap();
        assert_eq!(error.reason, number.to_string());
    }
    let nothing = errors
        .recv_timeout(Duration::from_millis(1))
        .await
        .unwrap_err();
    assert_eq!(nothing.to_string(), "no BLOCK_IO_ERROR within 1ms");
    session.close();
    let end = next(&mut errors).await.unwrap().unwrap_err();
    assert!(
        matches!(
            end,
            Error::Closed {
                why: Closing::ByClient,
                ..
            }
        ),
        "{end}"
    );
    assert!(next(&mut errors).await.is_none());
    assert!(session.query_status().await.is_err());
}

#[tokio::test]
async fn a_handle_of_a_dropped_future_is_put() {
    let (address, server, _directory) = scripted(|server| {
        server.negotiate_with_accessors();
        let accessor: serde_json::Value = serde_json::from_str(&server.hear()).unwrap();
        // The answer comes after the client has given up, as its next request shows.
        let next: serde_json::Value = serde_json::from_str(&server.hear()).unwrap();
        server.say(&format!(
            "{{\"return\": 77, \"id\": {}}}\r\n",
            accessor["id"]
        ));
        server.say(&format!("{{\"return\": {{}}, \"id\": {}}}\r\n", next["id"]));
        server.hear()
    });
    let session = Session::connect(&address).await.unwrap();
    tokio::select! {
        biased;
        connected = session.get_stop_event() => panic!("{connected:?}"),
        () = tokio::task::yield_now() => {}
    }
    session.execute_raw("x", None).await.unwrap();
    let put = tokio::task::spawn_blocking(|| server.join().unwrap())
        .await
        .unwrap();
    let put: serde_json::Value = serde_json::from_str(&put).unwrap();
    assert_eq!(
        (&put["execute"], &put["arguments"]["tag"]),
        (&"put-event".into(), &77.into())
    );
}

#[tokio::test]
async fn dropping_an_object_puts_its_handle_and_the_last_handle_ends_the_connection() {
    let (address, server, _directory) = scripted(|server| {
        server.negotiate_with_accessors();
        server.answer("{\"return\": 5");
        [server.hear(), server.hear()]
    });
    let session = Session::connect(&address).await.unwrap();
    let stops = session.get_stop_event().await.unwrap();
    // The object keeps the session alive.
    drop(session);
    drop(stops);
    let [put, end] = tokio::task::spawn_blocking(|| server.join().unwrap())
        .await
        .unwrap();
    assert!(
        put.contains("put-event") && put.contains("\"tag\":5"),
        "{put}"
    );
    assert_eq!(end, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_awaited_call_fails_at_once_when_the_connection_is_lost() {
    let (address, _server, _directory) = scripted(|server| {
        server.negotiate();
        for _ in 0..5 {
            server.hear();
        }
    });
    let session = Session::connect(&address).await.unwrap();
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.query_block().await })
        })
        .collect();
    for call in calls {
        let error = tokio::time::timeout(PATIENCE, call)
            .await
            .unwrap()
            .unwrap()
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Closed {
                    why: Closing::ByServer,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[tokio::test]
async fn without_accessors_streams_use_default_events() {
    let (address, _server, _directory) = scripted(|server| {
        server.negotiate();
        server.answer("{\"return\": [{\"name\": \"STOP\", \"meta-type\": \"event\"}]");
        server.answer("{\"return\": {}");
        server
            .say("{\"event\": \"STOP\", \"timestamp\": {\"seconds\": 5, \"microseconds\": 6}}\r\n");
        server.hear()
    });
    let session = Session::connect_with(&address, options()).await.unwrap();
    let stops = session.get_stop_event().await.unwrap();
    let all = session.any_event().await.unwrap();
    session.execute_raw("x", None).await.unwrap();
    assert_eq!(stops.recv().await.unwrap().timestamp.seconds, 5);
    assert_eq!(all.recv().await.unwrap().name, "STOP");
    assert!(session.get_reset_event().await.is_err());
}

#[tokio::test]
async fn a_server_that_closes_its_input_ends_the_connection() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (deaf, is_deaf) = std::sync::mpsc::channel();
    let (address, _server, _directory) = scripted(move |server| {
        server.negotiate();
        server.stream.shutdown(std::net::Shutdown::Read).unwrap();
        deaf.send(()).unwrap();
        // Sends nothing, and keeps the connection open.
        let _ = gone.recv();
    });
    let session = Session::connect(&address).await.unwrap();
    is_deaf.recv().unwrap();
    let call = tokio::time::timeout(Duration::from_secs(15), session.query_status());
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    drop(go);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_handle_ends_the_connection_with_a_server_that_does_not_read() {
    let (address, server, _directory) = scripted(|server| {
        server.negotiate();
        let deadline = std::time::Instant::now() + Duration::from_secs(15);
        while std::io::Write::write_all(&mut server.stream, b"\r\n").is_ok() {
            assert!(std::time::Instant::now() < deadline, "nobody hangs up");
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let session = Session::connect(&address).await.unwrap();
    let long = serde_json::json!({ "x": "x".repeat(4 << 20) });
    let call = session.execute_raw("x", Some(long));
    let call = tokio::time::timeout(Duration::from_millis(100), call);
    assert!(call.await.is_err());
    drop(session);
    tokio::task::spawn_blocking(|| server.join().unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_put_whose_future_is_dropped_still_completes() {
    let (address, server, _directory) = scripted(|server| {
        server.say(support::GREETING);
        for _ in 0..2 {
            server.hear();
            server.say("{\"return\": {}}\r\n");
        }
        server.answer("{\"return\": [{\"name\": \"get-a-event\"}, {\"name\": \"get-b-event\"}]");
        server.answer("{\"return\": 1");
        server.answer("{\"return\": 2");
        [server.hear(), server.hear()].concat()
    });
    let session = Session::connect(&address).await.unwrap();
    let events = session.any_event().await.unwrap();
    let put = tokio::time::timeout(Duration::from_millis(50), events.put());
    assert!(put.await.is_err());
    drop(session);
    let heard = tokio::task::spawn_blocking(|| server.join().unwrap());
    let heard = heard.await.unwrap();
    assert!(
        heard.contains("\"tag\":1") && heard.contains("\"tag\":2"),
        "{heard}"
    );
}
