//! The server against a raw socket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::*;

fn echo(limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let answer = |request: &Request, wire: &mut Wire<'_>| {
        let text = format!(
            "{} {} {}",
            request.method,
            request.path,
            String::from_utf8_lossy(&request.body)
        );
        wire.send(Response::new(200).with_body("text/plain", text))
    };
    Server::start(listener, limits, answer, |_, _| {}).unwrap()
}

/// Sends `bytes` and reads until the server closes.
fn say(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn one_connection_carries_several_requests() {
    let server = echo(Limits::default());
    let answer = say(
        &server,
        b"GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /c HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    let bodies: Vec<_> = ["GET /a ", "POST /b abc", "GET /c "]
        .into_iter()
        .map(|body| answer.find(body).unwrap())
        .collect();
    assert!(bodies.is_sorted());
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!(answer.matches("Connection: close").count(), 1);
}

#[test]
fn chunked_bodies_are_joined() {
    let server = echo(Limits::default());
    let answer = say(
        &server,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n",
    );
    assert!(answer.ends_with("POST / abcde"), "{answer}");
}

#[test]
fn head_has_a_length_and_no_body() {
    let server = echo(Limits::default());
    let answer = say(&server, b"HEAD /abc HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("Content-Length: 10\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn what_is_too_much_is_refused() {
    let limits = Limits {
        max_header: 200,
        max_body: 4,
        header: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = echo(limits);
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(300));
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
    for (request, status) in [
        (long.as_str(), "431"),
        ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde", "413"),
        (chunked, "413"),
        ("GET / HTTP/1.1\r\nnever finished", "408"),
        ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"),
        (
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
        ),
        ("gibberish\r\n\r\n", "400"),
    ] {
        let answer = say(&server, request.as_bytes());
        assert!(
            answer.contains(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
    }
}

#[test]
fn more_than_a_hundred_headers_are_refused() {
    let server = echo(Limits::default());
    let request = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101));
    assert!(say(&server, request.as_bytes()).contains(" 431 "));
}

#[test]
fn over_the_cap_is_503() {
    let server = echo(Limits {
        connections: 1,
        ..Limits::default()
    });
    let mut first = TcpStream::connect(server.address()).unwrap();
    first.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    first.read_exact(&mut [0; 10]).unwrap();
    assert!(say(&server, b"").contains("HTTP/1.1 503 "));
    drop(first);
    let again = || say(&server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    let freed = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        again().contains("HTTP/1.1 200 ")
    });
    assert!(freed);
}

#[test]
fn a_reset_is_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reset = |_: &Request, wire: &mut Wire<'_>| {
        wire.write_all(b"HTTP/1.1 200 OK\r\n")?;
        wire.pause(Duration::from_millis(50))?;
        socket2::SockRef::from(wire.stream()).set_linger(Some(Duration::ZERO))?;
        Err(std::io::ErrorKind::ConnectionAborted.into())
    };
    let server = Server::start(listener, Limits::default(), reset, |_, _| {}).unwrap();
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab",
    ] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let error = stream.read_to_end(&mut answer).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(answer, b"HTTP/1.1 200 OK\r\n");
    }
}

/// A byte now and then is never silence, and must end all the same.
#[test]
fn a_body_that_drips_is_cut_off_and_told() {
    let (sender, refusals) = std::sync::mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits {
        body: Duration::from_millis(200),
        ..Limits::default()
    };
    let handler = |_: &Request, wire: &mut Wire<'_>| wire.send(Response::new(200));
    let server = Server::start(listener, limits, handler, move |peer, status| {
        sender.send((peer, status)).unwrap();
    })
    .unwrap();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        .unwrap();
    let mut dripping = stream.try_clone().unwrap();
    let dripper = std::thread::spawn(move || {
        while dripping.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(
        refusals.recv().unwrap(),
        (stream.local_addr().unwrap(), 408)
    );
    dripper.join().unwrap();
}

#[test]
fn draining_answers_what_has_arrived_and_nothing_else() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (arrived, arrival) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let answer = move |_: &Request, wire: &mut Wire<'_>| {
        arrived.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        wire.send(Response::new(204))
    };
    let mut server = Server::start(listener, Limits::default(), answer, |_, _| {}).unwrap();
    let address = server.address();
    let mut idle = TcpStream::connect(address).unwrap();
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(b"GET / HT").unwrap();
    let mut busy = TcpStream::connect(address).unwrap();
    busy.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    arrival.recv().unwrap();
    let drainer = std::thread::spawn(move || server.drain(Duration::from_secs(20)));
    for stream in [&mut idle, &mut half] {
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
    assert!(TcpStream::connect(address).is_err());
    go.send(()).unwrap();
    let mut answer = Vec::new();
    busy.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 204 "));
    drainer.join().unwrap();
}

#[test]
fn stopping_ends_open_connections_and_sleeping_handlers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sleep = |_: &Request, wire: &mut Wire<'_>| wire.pause(Duration::from_secs(60));
    let server = Server::start(listener, Limits::default(), sleep, |_, _| {}).unwrap();
    let address = server.address();
    let mut asleep = TcpStream::connect(server.address()).unwrap();
    asleep.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut idle = TcpStream::connect(server.address()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    drop(server);
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    let mut rest = Vec::new();
    if asleep.read_to_end(&mut rest).is_ok() {
        assert!(rest.is_empty());
    }
    assert!(TcpStream::connect(address).is_err());
}
