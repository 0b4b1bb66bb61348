//! `lockstep status`: how every validator is doing, and what keeps it from progressing.

use std::time::Duration;

use lockstep_client::Client;
use lockstep_client::rpc::{PeerConduct, ReplicaStatus, Status, committee_name};
use serde_json::{Value, json};

use super::connect::NetworkOptions;
use super::failure::Failure;
use super::output::{Done, Output, table};
use crate::exit::ExitCode;

/// A validator that does not answer by then is shown as not answering.
const DEADLINE: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StatusCommand {
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    output: Output,
}

impl StatusCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> ExitCode {
        self.output.finish(self.execute().await)
    }

    async fn execute(&self) -> Result<Done, Failure> {
        let nodes = self.network.nodes()?;
        let answers = nodes.iter().map(async |(_, url)| ask(url).await);
        let mut statuses = Vec::new();
        for answer in answers {
            statuses.push(answer.await);
        }
        if statuses.iter().all(Result::is_err) {
            let message = "no validator answers";
            return Err(Failure::new(ExitCode::NoNode, "LS-NET-006", message)
                .help("is the network running? lockstep up starts one; --rpc names another"));
        }
        Ok(show(&nodes, &statuses))
    }
}

/// A validator's status, and the peers it has something against.
type Answer = (Status, Vec<PeerConduct>);

async fn ask(url: &str) -> Result<Answer, String> {
    let ask = async {
        let client = Client::new(&[url], DEADLINE)?;
        Ok::<_, lockstep_client::CallError>((client.status().await?, client.peers().await?))
    };
    let (status, mut peers) = ask.await.map_err(|error| error.to_string())?;
    peers.retain(|peer| peer.rejected > 0);
    Ok((status, peers))
}

fn show(nodes: &[(String, String)], statuses: &[Result<Answer, String>]) -> Done {
    let header = [
        "VALIDATOR",
        "COMMITTEE",
        "HEIGHT",
        "EXECUTED",
        "VIEW",
        "LEADER",
        "WINDOW",
        "RECORD",
        "POOL",
        "PEERS",
        "STATE",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut values: Vec<Value> = Vec::new();
    let mut trouble = 0;
    for ((name, url), status) in nodes.iter().zip(statuses) {
        match status {
            Ok((status, offenders)) => {
                let replicas = status.replicas.iter();
                rows.extend(replicas.map(|replica| row(name, replica, offenders)));
                trouble += status
                    .replicas
                    .iter()
                    .filter(|r| r.blocked.is_some())
                    .count();
                values.push(json!({
                    "validator": name, "url": url, "status": status, "offenders": offenders,
                }));
            }
            Err(error) => {
                let mut row = vec![name.clone()];
                row.resize(header.len() - 1, "-".to_owned());
                row.push(error.clone());
                rows.push(row);
                trouble += 1;
                values.push(json!({ "validator": name, "url": url, "error": error }));
            }
        }
    }
    let bare = if trouble == 0 {
        "ok".to_owned()
    } else {
        format!("{trouble} in trouble")
    };
    Done {
        value: values.into(),
        text: table(&rows),
        bare,
        exit: None,
    }
}

/// `runs`, or why not; and whether somebody was seen to misbehave.
fn state(replica: &ReplicaStatus, offenders: &[PeerConduct]) -> String {
    let mut state = replica.blocked.as_deref().unwrap_or("runs").to_owned();
    if replica.evidence > 0 {
        let cases = replica.evidence;
        state.push_str(&format!("; {cases} cases of evidence (lockstep_evidence)"));
    }
    for peer in offenders {
        let PeerConduct {
            validator,
            rejected,
            score,
            ..
        } = peer;
        state.push_str(&format!(
            "; {validator} sent {rejected} wrong messages, score {score} (lockstep_peers)"
        ));
    }
    state
}

fn row(name: &str, replica: &ReplicaStatus, offenders: &[PeerConduct]) -> Vec<String> {
    vec![
        name.to_owned(),
        committee_name(replica.committee),
        replica.height.to_string(),
        replica.executed.to_string(),
        replica.view.to_string(),
        replica.leader.to_string(),
        replica.window.to_string(),
        replica.record.to_string(),
        replica.pool.to_string(),
        replica.connected.to_string(),
        state(replica, offenders),
    ]
}
