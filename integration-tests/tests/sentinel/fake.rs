//! A sentinel that says what the test wants.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Names a master of its own choice, in a configuration that claims to be the latest of all.
pub(crate) struct FakeSentinel {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl FakeSentinel {
    pub(crate) async fn naming(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, address.port(), port));
            }
        });
        Self { address, task }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for FakeSentinel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(client: TcpStream, own: u16, master: u16) {
    let (reader, mut writer) = client.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(command) = read_command(&mut reader).await {
        let reply = answer(&command, own, master);
        if writer.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_command(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Option<String> {
    let mut words = Vec::new();
    for _ in 0..read_number(reader, '*').await? {
        let mut word = vec![0; read_number(reader, '$').await? + 2];
        reader.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8_lossy(&word[..word.len() - 2]).to_uppercase());
    }
    Some(words.join(" "))
}

async fn read_number(reader: &mut (impl AsyncBufReadExt + Unpin), sort: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).await.ok()?;
    line.strip_prefix(sort)?.trim_end().parse().ok()
}

fn answer(command: &str, own: u16, master: u16) -> String {
    let (master, id) = (master.to_string(), format!("{own:040}"));
    match command.split(' ').collect::<Vec<_>>()[..] {
        ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", _] => array(&["127.0.0.1", &master]),
        ["SENTINEL", "MASTER", _] => {
            array(&["ip", "127.0.0.1", "port", &master, "flags", "master", "config-epoch", "99999"])
        }
        ["SENTINEL", "MYID"] => bulk(&id),
        ["SENTINEL", ..] => array(&[]),
        ["SUBSCRIBE", ..] => format!("*3\r\n{}{}:1\r\n", bulk("subscribe"), bulk("+switch-master")),
        ["ROLE"] => format!("*2\r\n{}*1\r\n{}", bulk("sentinel"), bulk("mymaster")),
        ["PING"] | ["CLIENT", ..] => "+OK\r\n".to_owned(),
        _ => "-ERR unknown command\r\n".to_owned(),
    }
}

fn array(words: &[&str]) -> String {
    let words: String = words.iter().map(|word| bulk(word)).collect();
    let count = words.matches('$').count();
    format!("*{count}\r\n{words}")
}

fn bulk(word: &str) -> String {
    format!("${}\r\n{word}\r\n", word.len())
}
