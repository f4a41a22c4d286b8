//! A real Prometheus on loopback, in a folder of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use integration_tests::Port;
use serde_json::Value;
use tempfile::TempDir;

use crate::queries;

/// Samples of one series as seconds since the epoch and value.
pub(crate) type Samples = Vec<(f64, f64)>;

pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
    _port: Port,
}

/// Whether there is a Prometheus to start.
pub(crate) fn is_installed() -> bool {
    Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

impl Prometheus {
    /// Scrapes `target` every second and evaluates the shipped rules as often.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = queries::directory();
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{0}/recording-rules.yml, {0}/alert-rules.yml]\n\
             scrape_configs:\n  - job_name: state\n    static_configs: [{{targets: [\"{target}\"]}}]\n",
            rules.canonicalize().unwrap().display()
        );
        fs::write(folder.path().join("prometheus.yml"), configuration).unwrap();
        let port = Port::reserve();
        let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("`prometheus` starts (Debian: apt-get install prometheus)");
        let mut prometheus = Self { child, address, folder, _port: port };
        prometheus.wait_until_ready();
        prometheus
    }

    /// Whether an instant query returns a sample that is a number.
    pub(crate) fn has_data(&self, expression: &str) -> bool {
        let answer = self.ask("/api/v1/query", &[("query", expression)]);
        let is_number = |series: &Value| series["value"][1].as_str().is_some_and(|value| value != "NaN");
        answer["data"]["result"]
            .as_array()
            .unwrap_or_else(|| panic!("{expression}: {answer}"))
            .iter()
            .any(is_number)
    }

    /// The samples of the last `window`, one a second, by labels.
    pub(crate) fn range(
        &self,
        expression: &str,
        window: Duration,
    ) -> Vec<(BTreeMap<String, String>, Samples)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let (start, end) = ((now - window.as_secs_f64()).to_string(), now.to_string());
        let answer = self.ask(
            "/api/v1/query_range",
            &[("query", expression), ("start", &start), ("end", &end), ("step", "1")],
        );
        let series =
            answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{expression}: {answer}")).clone();
        series.into_iter().map(|series| (labels(&series), samples(&series))).collect()
    }

    /// Rules whose last evaluation failed, with the error.
    pub(crate) fn failing_rules(&self) -> BTreeMap<String, String> {
        let answer = self.ask("/api/v1/rules", &[]);
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
        assert!(rules.len() > 30, "{}", rules.len());
        rules
            .iter()
            .filter_map(|rule| Some((rule["name"].to_string(), rule["lastError"].as_str()?.to_owned())))
            .filter(|(_, error)| !error.is_empty())
            .collect()
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.get("/-/ready").is_some_and(|answer| answer.contains(" 200 OK")) {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("prometheus ended with {status}: {}", log());
            }
            assert!(Instant::now() < deadline, "prometheus is not ready: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let query: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        let answer = self.get(&format!("{path}?{}", query.join("&"))).expect("prometheus answers");
        let body = answer.split_once("\r\n\r\n").expect("a head and a body").1;
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// A request by HTTP/1.0, whose answer ends with the connection and comes in one piece.
    fn get(&self, target: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.write_all(format!("GET {target} HTTP/1.0\r\nHost: prometheus\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn labels(series: &Value) -> BTreeMap<String, String> {
    let labels = series["metric"].as_object().unwrap();
    labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn samples(series: &Value) -> Samples {
    let number = |value: &Value| value.as_str().unwrap().parse().unwrap();
    series["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_f64().unwrap(), number(&pair[1])))
        .collect()
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
