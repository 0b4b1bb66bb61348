//! One test for each rule of PROTOCOL.md, named after it.

use crate::common::World;

#[test]
fn happy_path_commits_everywhere_four_delays_after_the_proposal() {
    for size in 4..=10 {
        let mut world = World::new(size);
        world.submit(1);
        world.run_ms(39);
        assert!(world.commits.iter().all(Vec::is_empty));
        world.run_ms(1);
        assert!(
            world.commits.iter().all(|blocks| blocks.len() == 1),
            "n = {size}\n{}",
            world.trace
        );
        world.run_ms(100);
        assert!(world.is_idle());
    }
}
