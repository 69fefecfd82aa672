use std::fmt::{self, Display};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1 that nobody else is given while this lives, whether somebody listens there or nobody does.
pub struct Port {
    /// Bound, and never listening.
    _holder: Socket,
    number: u16,
}

impl Port {
    pub fn new() -> io::Result<Self> {
        let holder = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // Whoever sets this option, too, may listen on a port that others only hold.
        holder.set_reuse_address(true)?;
        holder.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = holder.local_addr()?.as_socket();
        let number = address.ok_or(io::ErrorKind::AddrNotAvailable)?.port();
        Ok(Self {
            _holder: holder,
            number,
        })
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, self.number))
    }
}

impl Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}
