//! Everything the members of a small network could say, signed by the keys of all of them. Their
//! signatures are keyed hashes, so that fuzzing does not spend its time on the curve.

use std::sync::Arc;

use lockstep_consensus::{self as consensus, Certificates, Proposal, Testimony};
use lockstep_genesis::{DevelopmentKeys, DevelopmentSpec, Genesis};
use lockstep_ledger::{Action, Transaction};
use lockstep_shard::{
    BarrierRecord, Batch, BatchContext, CertifiedCheckpoint, CertifiedRecord, Checkpoint,
    CheckpointVote, Message, ShardEntry, epoch_context, root_block,
};
use lockstep_types::generate::Random;
use lockstep_types::{
    AssetId, Block, CommitProof, CommitteeId, Digest, Epoch, EpochContext, Header, KeyedHashEngine,
    KeyedSigner, LinkedBlock, MemberIndex, QuorumCertificate, ShardId, Signature, Signer, Signers,
    Timeout, TimeoutCertificate, Verified, Verifier, View, Vote, WindowNumber,
};

/// The shard most messages are for.
pub(super) const SHARD: CommitteeId = CommitteeId::Shard(ShardId::new(0));

/// Holds every key of a network of two shards with four members in each committee.
pub struct Forge {
    /// The chain.
    pub genesis: Arc<Genesis>,
    keys: DevelopmentKeys,
    engine: KeyedHashEngine,
}

/// Does a signature or a certificate stand for what this message says? What nobody vouches for is
/// bounded only, or proven by hashing once the receiver knows what is certified.
pub fn is_vouched_for(message: &Message) -> bool {
    use consensus::Message as C;
    match message {
        Message::Consensus(C::Inquiry(_) | C::BlockRequest { .. }) => false,
        Message::Consensus(
            C::Proposal(_)
            | C::Vote(_)
            | C::Timeout(_)
            | C::Certificates(_)
            | C::Blocks(_)
            | C::Testimony(_),
        ) => true,
        Message::Batch(_) | Message::Checkpoint(_) | Message::Record(_) => true,
        Message::Manifest(manifest) => manifest.is_some(),
        Message::Bundle(_) | Message::Request(_) | Message::Part(_) => false,
    }
}

impl Default for Forge {
    fn default() -> Self {
        Self::new()
    }
}

impl Forge {
    /// The network.
    pub fn new() -> Self {
        let made = Genesis::development(&DevelopmentSpec::default());
        let (genesis, keys) = made.expect("the default network is sound");
        Forge {
            genesis: Arc::new(genesis),
            keys,
            engine: KeyedHashEngine::new([5; 32]),
        }
    }

    /// Checks what the forge signs.
    pub fn verifier(&self) -> Verifier {
        Verifier::new(Arc::new(self.engine.clone()))
    }

    /// The engine that holds everybody's keys.
    pub fn engine(&self) -> KeyedHashEngine {
        self.engine.clone()
    }

    /// What statements of a committee are checked against.
    pub fn context(&self, committee: CommitteeId) -> EpochContext {
        epoch_context(&self.genesis, committee)
    }

    /// A member's key.
    pub fn signer(&self, committee: CommitteeId, member: MemberIndex) -> KeyedSigner {
        let key = self.genesis.committee(committee).key(member);
        self.engine.signer_for(*key.expect("a member"))
    }

    /// A quorum's signatures, or everybody's.
    fn signatures(
        &self,
        committee: CommitteeId,
        random: &mut Random,
        statement: impl Fn(MemberIndex) -> Digest,
    ) -> (Signers, Vec<Signature>) {
        let members = self.genesis.committee(committee);
        let mut signing: Vec<_> = members.indices().collect();
        while signing.len() > members.quorum() && random.one_in(2) {
            signing.remove(random.index(signing.len()));
        }
        let sign = |member: &MemberIndex| self.signer(committee, *member).sign(&statement(*member));
        let signatures = signing.iter().map(sign).collect();
        (signing.into_iter().collect(), signatures)
    }

    /// The certificate for a block.
    pub fn qc(
        &self,
        committee: CommitteeId,
        random: &mut Random,
        block: &Block,
    ) -> QuorumCertificate {
        let (context, header) = (self.context(committee), block.header());
        if header.view == View::ZERO {
            return QuorumCertificate::root(context.epoch, block.id());
        }
        let statement = Vote::statement(&context.domain, context.epoch, header.view, &block.id());
        let (signers, signatures) = self.signatures(committee, random, |_| statement);
        QuorumCertificate {
            epoch: context.epoch,
            view: header.view,
            block: block.id(),
            signers,
            signatures,
        }
    }

    /// A certificate that `view` was given up by members whose highest is `high_qc`.
    pub fn tc(
        &self,
        committee: CommitteeId,
        random: &mut Random,
        view: View,
        high_qc: &QuorumCertificate,
    ) -> TimeoutCertificate {
        let context = self.context(committee);
        let statement = |_| Timeout::statement(&context.domain, context.epoch, view, high_qc.view);
        let (signers, signatures) = self.signatures(committee, random, statement);
        TimeoutCertificate {
            epoch: context.epoch,
            view,
            signers,
            high_qc_views: vec![high_qc.view; signatures.len()],
            signatures,
            high_qc: high_qc.clone(),
        }
    }

    /// A chain of proposals; some views between them were given up.
    pub fn chain(
        &self,
        committee: CommitteeId,
        random: &mut Random,
        payloads: &[Vec<u8>],
    ) -> Vec<Proposal> {
        let context = self.context(committee);
        let mut parent = root_block(&self.genesis, committee);
        let mut proposals = Vec::new();
        for payload in payloads {
            let justify = self.qc(committee, random, &parent);
            let gap = if random.one_in(3) { 1 } else { 0 };
            let view = parent.header().view.next().plus(gap);
            let gave_up = view.previous().filter(|_| gap > 0);
            let entered_by = gave_up.map(|view| self.tc(committee, random, view, &justify));
            let proposer = context.committee.by_turn(view.get());
            let header = Header {
                epoch: context.epoch,
                view,
                height: parent.header().height.next(),
                parent: parent.id(),
                parent_view: parent.header().view,
                time: parent.header().time.next(),
                proposer,
                executed: parent.header().executed,
                payload: Digest::ZERO,
            };
            let block = Block::new(header, payload.clone());
            let signer = self.signer(committee, proposer);
            parent = block.clone();
            let proposal = Proposal::sign(&signer, &context.domain, block, justify, entered_by);
            proposals.push(proposal);
        }
        proposals
    }

    /// A proof that a block with this payload is final.
    pub fn proof(
        &self,
        committee: CommitteeId,
        random: &mut Random,
        payload: Vec<u8>,
    ) -> CommitProof {
        let payloads = [payload, Vec::new(), Vec::new(), Vec::new()];
        loop {
            let chain = self.chain(committee, random, &payloads);
            if let Some(proof) = self.prove(committee, random, &chain) {
                return proof;
            }
        }
    }

    /// A proof that the first block of a chain is final, if two of its views follow each other.
    pub(super) fn prove(
        &self,
        committee: CommitteeId,
        random: &mut Random,
        chain: &[Proposal],
    ) -> Option<CommitProof> {
        let follows = |pair: &[Proposal]| pair[1].view().follows(pair[0].view());
        let direct = chain.windows(2).position(follows)?;
        let header = |proposal: &Proposal| proposal.block.header().clone();
        Some(CommitProof {
            headers: chain[..=direct].iter().map(header).collect(),
            qc: self.qc(committee, random, &chain[direct].block),
            child: header(&chain[direct + 1]),
            child_qc: self.qc(committee, random, &chain[direct + 1].block),
        })
    }

    /// Consensus messages of every kind.
    pub fn consensus(
        &self,
        committee: CommitteeId,
        random: &mut Random,
        payloads: &[Vec<u8>],
    ) -> Vec<consensus::Message> {
        let context = self.context(committee);
        let chain = self.chain(committee, random, payloads);
        let mut messages = Vec::new();
        for proposal in &chain {
            let author = context.committee.by_turn(random.draw());
            let signer = self.signer(committee, author);
            let (view, block) = (proposal.view(), &proposal.block);
            let vote = Vote::sign(
                &signer,
                &context.domain,
                author,
                context.epoch,
                view,
                block.id(),
            );
            messages.push(consensus::Message::Vote(vote));
            let timeout = Timeout::sign(
                &signer,
                &context.domain,
                author,
                view,
                proposal.justify.clone(),
                proposal.entered_by.clone(),
            );
            messages.push(consensus::Message::Timeout(Box::new(timeout)));
            let certificates = Certificates {
                high_qc: proposal.justify.clone(),
                high_tc: proposal.entered_by.clone(),
            };
            messages.push(consensus::Message::Certificates(Box::new(certificates)));
            messages.push(consensus::Message::Proposal(Box::new(proposal.clone())));
            messages.push(consensus::Message::BlockRequest {
                from: block.header().height,
                tip: block.id(),
            });
        }
        let links: Vec<LinkedBlock> = chain.iter().map(Proposal::linked).collect();
        messages.push(consensus::Message::Blocks(links));
        messages.push(consensus::Message::Inquiry(random.make()));
        let newest = chain.last().expect("a chain of some blocks");
        let testimony = self.testimony(committee, random, newest);
        messages.push(consensus::Message::Testimony(Box::new(testimony)));
        messages
    }

    /// An answer to a member that has just started and, before that, had voted for a proposal and
    /// then given its view up.
    pub fn testimony(
        &self,
        committee: CommitteeId,
        random: &mut Random,
        proposal: &Proposal,
    ) -> Testimony {
        let EpochContext {
            domain,
            epoch,
            committee: members,
            ..
        } = self.context(committee);
        let author = members.by_turn(random.draw());
        let others: Vec<_> = members.indices().filter(|other| *other != author).collect();
        let asker = *random.pick(&others);
        let (view, qc) = (proposal.view(), &proposal.justify);
        let signer = self.signer(committee, asker);
        let vote = Vote::sign(&signer, &domain, asker, epoch, view, proposal.block.id());
        let entered_by = proposal.entered_by.clone();
        let timeout = Timeout::sign(&signer, &domain, asker, view, qc.clone(), entered_by);
        let certificates = Certificates {
            high_qc: qc.clone(),
            high_tc: Some(self.tc(committee, random, view, qc)),
        };
        let testimony = Testimony {
            author,
            asker,
            challenge: random.make(),
            certificates,
            vote: Some(vote),
            timeout: Some(timeout),
            signature: Signature::new([0; 64]), // until it is signed
        };
        testimony.signed(&self.signer(committee, author), &domain, epoch)
    }

    /// A checkpoint of a shard, with a made-up seal.
    pub fn checkpoint(&self, random: &mut Random, shard: ShardId) -> Checkpoint {
        Checkpoint {
            shard,
            epoch: Epoch::ZERO,
            ..random.make()
        }
    }

    /// The same, signed by a quorum.
    pub fn certified(&self, random: &mut Random, shard: ShardId) -> CertifiedCheckpoint {
        let checkpoint = self.checkpoint(random, shard);
        self.certify(random, checkpoint)
    }

    pub(super) fn certify(
        &self,
        random: &mut Random,
        checkpoint: Checkpoint,
    ) -> CertifiedCheckpoint {
        let statement = checkpoint.statement(&self.genesis);
        let committee = CommitteeId::Shard(checkpoint.shard);
        let (signers, signatures) = self.signatures(committee, random, |_| statement);
        CertifiedCheckpoint {
            checkpoint,
            signers,
            signatures,
        }
    }

    /// A record whose checkpoints hold.
    pub fn record(&self, random: &mut Random) -> BarrierRecord {
        let shards = (0..self.genesis.shard_count()).map(|shard| {
            if random.one_in(4) {
                ShardEntry::Absent
            } else {
                ShardEntry::Certified(Box::new(self.certified(random, ShardId::new(shard))))
            }
        });
        let shards = shards.collect();
        BarrierRecord {
            shards,
            ..random.make()
        }
    }

    /// A committed record.
    pub fn certified_record(&self, random: &mut Random) -> CertifiedRecord {
        let record = self.record(random);
        self.commit(random, record)
    }

    pub(super) fn commit(&self, random: &mut Random, record: BarrierRecord) -> CertifiedRecord {
        let payload = parity_scale_codec::Encode::encode(&record);
        let proof = self.proof(CommitteeId::Beacon, random, payload);
        CertifiedRecord { record, proof }
    }

    /// A payment of an account of `shard`.
    pub fn payment(
        &self,
        random: &mut Random,
        shard: ShardId,
        nonce: u64,
        expiry: WindowNumber,
    ) -> Transaction {
        let holders = self.keys.accounts.iter();
        let holders: Vec<_> = holders.filter(|account| account.shard == shard).collect();
        let signer = self
            .engine
            .signer_for(random.pick(&holders).key.public_key());
        let action = Action::Transfer {
            to: random.pick(&self.keys.accounts).account,
            asset: AssetId::NATIVE,
            amount: 1 + u128::from(random.below(1_000)),
        };
        Transaction::sign(&self.genesis.hash(), &signer, nonce, expiry, vec![action])
    }

    /// A batch of one member of a shard.
    pub fn batch(&self, random: &mut Random, shard: ShardId, author: MemberIndex) -> Batch {
        let count = 1 + random.below(3);
        let payments = (0..count).map(|_| {
            let (nonce, expiry) = (random.below(3), random.make());
            Verified::vouch(self.payment(random, shard, nonce, expiry))
        });
        let payments = payments.collect();
        let context = BatchContext::new(&self.genesis, shard);
        let signer = self.signer(CommitteeId::Shard(shard), author);
        let (window, sequence) = (WindowNumber::new(1 + random.below(2)), random.make());
        Batch::pack(&context, &signer, author, window, sequence, payments).into_inner()
    }

    /// Messages of every kind for members of `committee`; all of them hold.
    pub fn messages(&self, committee: CommitteeId, random: &mut Random) -> Vec<Message> {
        let mut payloads = vec![Vec::new(); 3];
        if committee == CommitteeId::Beacon {
            payloads[1] = parity_scale_codec::Encode::encode(&self.record(random));
        } else {
            let payload: lockstep_shard::Payload = random.make();
            payloads[1] = payload.to_bytes();
        }
        let consensus = self.consensus(committee, random, &payloads);
        let mut messages: Vec<_> = consensus.into_iter().map(Message::Consensus).collect();
        messages.push(Message::Record(Arc::new(self.certified_record(random))));
        messages.push(Message::Request(random.make()));
        let Some(shard) = committee.shard() else {
            let shard = ShardId::new(0);
            let member = self.genesis.committee(SHARD).by_turn(random.draw());
            let signer = self.signer(SHARD, member);
            let checkpoint = self.checkpoint(random, shard);
            let vote = CheckpointVote::sign(&self.genesis, &signer, member, checkpoint);
            messages.push(Message::Checkpoint(Box::new(vote)));
            return messages;
        };
        let member = self.genesis.committee(committee).by_turn(random.draw());
        messages.push(Message::Batch(Arc::new(self.batch(random, shard, member))));
        let bundle = lockstep_ledger::Bundle {
            destination: shard,
            ..random.make()
        };
        messages.push(Message::Bundle(Arc::new(bundle)));
        messages.push(Message::Manifest(None));
        messages.extend(self.state(random, shard).messages());
        messages
    }
}
