//! All requests on a connection that brings these bytes and ends.

use super::*;

pub(crate) fn served(bytes: &[u8], mut each: impl FnMut(&Request)) -> io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (server, peer) = listener.accept()?;
    // What does not fit into the socket's buffers is of no interest.
    client.set_nonblocking(true)?;
    io::Write::write(&mut client, bytes)?;
    client.shutdown(std::net::Shutdown::Write)?;
    let limits = Limits::default();
    let mut incoming = Incoming::new(&server, &limits);
    while let Ok(Some(request)) = incoming.request(peer) {
        assert!(request.body.len() <= limits.max_body && request.headers.len() <= MAX_HEADERS);
        each(&request);
    }
    Ok(())
}
