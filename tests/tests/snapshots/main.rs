//! Snapshots are kept: on a disk and in a bucket, whatever becomes of either.

mod bucket;
mod crash;
mod damage;
mod garbage;
mod kept;
mod keys;
mod room;
mod together;
mod tree;
mod yard;

/// Makes a test of each story, for each place that snapshots are kept in.
macro_rules! told_everywhere {
    ($($story:path => $name:ident,)*) => {
        mod on_a_disk {
            $(#[test] fn $name() { $story(&crate::yard::Yard::disk()); })*
        }
        mod in_a_bucket {
            $(#[test] fn $name() {
                let yard = crate::yard::Yard::bucket();
                $story(&yard);
                assert_eq!(yard.s3().refusals(), [""; 0]);
            })*
        }
    };
}

told_everywhere! {
    crate::kept::what_was_stored_comes_back => what_was_stored_comes_back,
    crate::kept::what_did_not_change_is_not_stored_twice => what_did_not_change_is_not_stored_twice,
    crate::kept::holes_and_zeros_cost_nothing => holes_and_zeros_cost_nothing,
    crate::kept::another_process_finds_what_this_one_stored => another_process_finds_what_this_one_stored,
    crate::kept::what_cannot_be_stored_or_fetched_says_why => what_cannot_be_stored_or_fetched_says_why,
    crate::together::one_chunk_of_many_stores_is_stored_once => one_chunk_of_many_stores_is_stored_once,
    crate::together::stores_and_fetches_at_once_do_not_meet => stores_and_fetches_at_once_do_not_meet,
    crate::damage::no_flipped_bit_goes_unnoticed => no_flipped_bit_goes_unnoticed,
    crate::damage::nothing_that_was_cut_short_goes_unnoticed => nothing_that_was_cut_short_goes_unnoticed,
    crate::damage::what_is_missing_is_named => what_is_missing_is_named,
    crate::damage::one_is_not_taken_for_another => one_is_not_taken_for_another,
    crate::damage::a_store_that_is_gone_says_so => a_store_that_is_gone_says_so,
    crate::garbage::what_nobody_needs_goes_and_a_dry_run_says_so_first => what_nobody_needs_goes,
    crate::garbage::what_is_new_stays => what_is_new_stays,
    crate::garbage::a_store_does_not_count_on_what_is_doomed => a_store_does_not_count_on_what_is_doomed,
    crate::garbage::a_collection_beside_stores_takes_nothing_they_count_on => a_collection_beside_stores,
    crate::garbage::what_a_damaged_snapshot_may_need_stays => what_a_damaged_snapshot_may_need_stays,
    crate::garbage::what_was_given_up_goes => what_was_given_up_goes,
    crate::garbage::what_is_mostly_garbage_is_written_anew => what_is_mostly_garbage_is_written_anew,
    crate::keys::a_key_that_is_missing_or_another_is_named => a_key_that_is_missing_or_another_is_named,
    crate::keys::a_rotation_makes_the_old_key_unnecessary => a_rotation_makes_the_old_key_unnecessary,
    crate::keys::nothing_stored_can_be_read_without_the_key => nothing_stored_can_be_read_without_the_key,
    crate::keys::a_damaged_data_key_is_mended_from_its_copy => a_damaged_data_key_is_mended_from_its_copy,
}
