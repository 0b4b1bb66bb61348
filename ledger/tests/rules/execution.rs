//! Nonces, expiry, minimum balances, limits, atomicity.

use lockstep_ledger::{
    BlockInput, Failure, MAX_NONCE_AHEAD, MAX_SUPPLY, ReceiptResult, Refusal, check_allocations,
};
use lockstep_types::{AssetId, Height, ShardId, WindowNumber};

use crate::bench::*;

const APPLIED: Option<ReceiptResult> = Some(ReceiptResult::Applied);

fn failed(failure: Failure) -> Option<ReceiptResult> {
    Some(ReceiptResult::Failed(failure))
}

#[test]
fn the_right_nonce_advances_whatever_the_outcome() {
    let (mut ledger, from, to) = (ledger(0), holder(0, 0), holder(0, 1));
    let too_much = transaction(from, 0, vec![native(to, 5_000)]);
    let insufficient = failed(Failure::Insufficient { action: 0 });
    assert_eq!(result(&mut ledger, too_much.clone()), insufficient);
    assert_eq!(ledger.account(&from.id).unwrap().nonce, 1);
    assert_eq!(ledger.account(&from.id).unwrap().native(), 1_000);
    assert_eq!(result(&mut ledger, too_much), None, "final");
}

#[test]
fn a_wrong_nonce_or_a_past_expiry_has_no_effect_and_no_receipt() {
    let (mut ledger, from, to) = (ledger(0), holder(0, 0), holder(0, 1));
    let good = transaction(from, 0, vec![native(to, 5)]);
    let mut ahead = good.clone();
    ahead.nonce = 1;
    let mut expired = good.clone();
    expired.expiry = WindowNumber::ZERO;
    let outcome = run(&mut ledger, vec![ahead, expired]);
    assert!(outcome.receipts.is_empty());
    let reasons: Vec<_> = outcome.skipped.iter().map(|(_, reason)| *reason).collect();
    let window = WindowNumber::new(1);
    assert_eq!(
        reasons,
        [
            Refusal::NonceAhead {
                expected: 0,
                got: 1
            },
            Refusal::Expired {
                expiry: WindowNumber::ZERO,
                window
            },
        ]
    );
    assert_eq!(result(&mut ledger, good.clone()), APPLIED);
    let again = run(&mut ledger, vec![good]);
    assert_eq!(
        again.skipped[0].1,
        Refusal::StaleNonce {
            expected: 1,
            got: 0
        }
    );
}

#[test]
fn a_transaction_of_another_shards_account_has_no_effect() {
    let (mut ledger, from) = (ledger(0), holder(1, 0));
    let outcome = run(
        &mut ledger,
        vec![transaction(from, 0, vec![native(from, 5)])],
    );
    let expected = Refusal::WrongShard {
        account: ShardId::new(1),
        ours: ShardId::new(0),
    };
    assert_eq!(outcome.skipped[0].1, expected);
}

#[test]
fn the_last_window_of_an_expiry_still_counts() {
    let (mut ledger, from) = (ledger(0), holder(0, 0));
    let mut last = transaction(from, 0, vec![native(from, 5)]);
    last.expiry = WindowNumber::new(1);
    assert_eq!(result(&mut ledger, last), APPLIED);
}

#[test]
fn a_transfer_to_oneself_changes_nothing_but_the_nonce() {
    let (mut ledger, from) = (ledger(0), holder(0, 0));
    assert_eq!(
        result(&mut ledger, transaction(from, 0, vec![native(from, 1_000)])),
        APPLIED
    );
    assert_eq!(ledger.account(&from.id).unwrap().native(), 1_000);
    let twice = transaction(from, 1, vec![native(from, 600), native(from, 600)]);
    assert_eq!(result(&mut ledger, twice), APPLIED);
    assert_eq!(ledger.account(&from.id).unwrap().native(), 1_000);
}

#[test]
fn all_actions_or_none() {
    let (mut ledger, from, to) = (ledger(0), holder(0, 0), holder(0, 1));
    let far = holder(1, 0);
    let actions = vec![native(to, 500), native(far, 400), native(to, 101)];
    let insufficient = failed(Failure::Insufficient { action: 2 });
    assert_eq!(
        result(&mut ledger, transaction(from, 0, actions)),
        insufficient
    );
    assert_eq!(ledger.account(&to.id).unwrap().native(), 1_000);
    assert_eq!(ledger.sent_count(ShardId::new(1)), 0);
}

#[test]
fn nobody_is_left_or_made_below_the_minimum() {
    let (mut ledger, from, new) = (ledger(0), holder(0, 0), holder(0, 7));
    let below = failed(Failure::BelowMinimum);
    let cases = [
        (native(holder(0, 1), 991), below), // leaves 9
        (native(new, 9), below),            // makes 9
        (pay(new, GOLD, 5), below),         // makes an account without native value
        (native(holder(1, 7), 9), below),   // may make 9 where nobody could refuse it
        (native(new, 10), APPLIED),
        (native(holder(0, 1), 980), APPLIED), // leaves 10
    ];
    for (nonce, (action, expected)) in (0..).zip(cases) {
        let window = nonce; // each in a window of its own: the window limit is not meant here
        let block = Block {
            window,
            transactions: vec![transaction(from, nonce, vec![action])],
            ..Block::default()
        };
        let outcome = execute(&mut ledger, block);
        assert_eq!(Some(outcome.receipts[0].result), expected, "case {nonce}");
    }
    assert_eq!(ledger.account(&from.id).unwrap().native(), 10);
}

#[test]
fn an_account_may_be_made_by_two_actions_together() {
    let (mut ledger, from, new) = (ledger(0), holder(0, 0), holder(0, 7));
    let actions = vec![pay(new, GOLD, 5), native(new, 10)];
    assert_eq!(result(&mut ledger, transaction(from, 0, actions)), APPLIED);
    assert_eq!(ledger.account(&new.id).unwrap().balances.get(GOLD), 5);
}

#[test]
fn a_window_holds_only_so_many_transactions_of_an_account() {
    let (mut ledger, from) = (ledger(0), holder(0, 0));
    let limit = config(0, 2).account_window_limit;
    let count = u64::from(limit) + 2;
    let many = (0..count).map(|nonce| transaction(from, nonce, vec![native(from, 5)]));
    let outcome = run(&mut ledger, many.collect());
    let results: Vec<_> = outcome
        .receipts
        .iter()
        .map(|receipt| receipt.result)
        .collect();
    assert!(
        results[..limit as usize]
            .iter()
            .all(|r| *r == ReceiptResult::Applied)
    );
    let over = ReceiptResult::Failed(Failure::WindowLimit);
    assert!(results[limit as usize..].iter().all(|r| *r == over));
    let next = Block {
        window: 2,
        transactions: vec![transaction(from, count, vec![native(from, 5)])],
        ..Block::default()
    };
    assert_eq!(
        execute(&mut ledger, next).receipts[0].result,
        ReceiptResult::Applied
    );
}

#[test]
fn the_largest_amounts_do_not_wrap() {
    let (mut ledger, from, to) = (ledger(0), holder(0, 0), holder(0, 1));
    for (nonce, far) in [(0, to), (1, holder(1, 0))] {
        let actions = vec![native(far, u128::MAX), native(far, u128::MAX)];
        let insufficient = failed(Failure::Insufficient { action: 0 });
        assert_eq!(
            result(&mut ledger, transaction(from, nonce, actions)),
            insufficient
        );
    }
    let too_much = [(to.id, GOLD, MAX_SUPPLY), (from.id, GOLD, 1)];
    assert!(check_allocations(&too_much).is_err());
    assert!(check_allocations(&[(to.id, GOLD, u128::MAX)]).is_err());
    assert!(check_allocations(&too_much[..1]).is_ok());
}

#[test]
fn the_door_of_the_mempool_says_why() {
    let (mut ledger, from, to) = (ledger(0), holder(0, 0), holder(0, 1));
    assert_eq!(
        result(&mut ledger, transaction(from, 0, vec![native(to, 5)])),
        APPLIED
    );
    let window = WindowNumber::new(7);
    let admits = |from, nonce, amount| {
        let asked = transaction(from, nonce, vec![native(to, amount), native(to, 1)]);
        ledger.admits(&asked, window)
    };
    assert_eq!(admits(from, 1, 5), Ok(()));
    assert_eq!(admits(from, MAX_NONCE_AHEAD, 5), Ok(()));
    let far = MAX_NONCE_AHEAD + 1;
    assert_eq!(
        admits(from, far, 5),
        Err(Refusal::NonceAhead {
            expected: 1,
            got: far
        })
    );
    assert_eq!(
        admits(from, 0, 5),
        Err(Refusal::StaleNonce {
            expected: 1,
            got: 0
        })
    );
    assert_eq!(admits(from, u64::MAX, 5).map_err(|_| ()), Err(()));
    assert_eq!(admits(holder(0, 9), 0, 5), Err(Refusal::UnknownSender));
    assert!(matches!(
        admits(holder(1, 0), 0, 5),
        Err(Refusal::WrongShard { .. })
    ));
    let insufficient = Refusal::Insufficient {
        asset: AssetId::NATIVE,
        needed: 996,
        held: 995,
    };
    assert_eq!(admits(from, 1, 995), Err(insufficient));
    assert!(matches!(
        admits(from, 1, u128::MAX),
        Err(Refusal::Insufficient { .. })
    ));
    let mut expired = transaction(from, 1, vec![native(to, 5)]);
    expired.expiry = WindowNumber::new(6);
    assert!(matches!(
        ledger.admits(&expired, window),
        Err(Refusal::Expired { .. })
    ));
}

#[test]
#[should_panic(expected = "blocks execute one after the other")]
fn a_block_out_of_order_stops_the_replica() {
    let mut ledger = ledger(0);
    let _ = ledger.execute(BlockInput {
        height: Height::new(2),
        window: WindowNumber::new(1),
        record: None,
        bundles: &[],
        transactions: &mut [].iter(),
        seal: None,
    });
}

#[test]
fn the_digest_depends_on_everything_a_block_does() {
    let block = |window, seal, amount| {
        let mut ledger = ledger(0);
        let actions = vec![native(holder(0, 1), amount)];
        let transactions = vec![transaction(holder(0, 0), 0, actions)];
        let block = Block {
            window,
            transactions,
            seal,
            ..Block::default()
        };
        execute(&mut ledger, block).digest
    };
    let digests = [
        block(1, None, 5),
        block(2, None, 5),
        block(1, Some(1), 5),
        block(1, None, 6),
        block(1, None, 5_000),
    ];
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
    assert_eq!(block(1, None, 5), digests[0]);
}
