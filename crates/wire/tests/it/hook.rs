//! A webhook on this machine that takes all it is sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc;

/// It ends with the process: nobody can tell it that no more will come.
pub(crate) struct Hook {
    pub(crate) url: String,
    requests: mpsc::Receiver<String>,
}

impl Hook {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let (taken, requests) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let mut stream = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
                }
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).unwrap();
                let answer = "HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: *\r\n\
                    content-length: 0\r\n\r\n";
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
                // Nobody listens any more once the test is over.
                if taken.send(head + &String::from_utf8(body).unwrap()).is_err() {
                    break;
                }
            }
        });
        Self { url, requests }
    }

    /// A request, whole, if one has come.
    pub(crate) fn try_next(&self) -> Option<String> {
        self.requests.try_recv().ok()
    }

    /// The next request, whole.
    pub(crate) fn next(&self) -> String {
        self.requests.recv().unwrap()
    }
}
