//! A reverse proxy that serves a server below a path prefix, as ingress controllers do.

use std::io::{BufRead, BufReader, Read, Write, copy};
use std::net::{TcpListener, TcpStream};

/// Serves the server at the address `target` below `/prefix/` of the address that is returned.
pub(crate) fn serve_below_prefix(target: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let target = target.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let target = target.clone();
            // An error is ignored, because a browser may disconnect before it has the response.
            std::thread::spawn(move || forward(&client, &target).ok());
        }
    });
    format!("http://{address}")
}

/// Forwards one request and its response, and closes the connection.
fn forward(client: &TcpStream, target: &str) -> std::io::Result<()> {
    let mut request = BufReader::new(client.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        request.read_line(&mut line)?;
        let name = line.to_lowercase();
        if let Some(bytes) = name.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
        if !name.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let head = head.replacen(" /prefix/", " /", 1);
    let mut server = TcpStream::connect(target)?;
    write!(server, "{head}connection: close\r\n\r\n")?;
    copy(&mut request.take(length), &mut server)?;
    copy(&mut server, &mut &*client)?;
    Ok(())
}
