//! Snapshots are kept: on a disk and in a bucket, whatever becomes of either.

mod crash;
mod damage;
mod kept;
mod keys;
mod together;
mod tree;
mod yard;

/// Makes a test of each story, for each place that snapshots are kept in.
macro_rules! told_everywhere {
    ($($story:path => $name:ident,)*) => {
        mod disk {
            $(#[test] fn $name() { $story(&crate::yard::Yard::disk()); })*
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
    crate::keys::a_key_that_is_missing_or_another_is_named => a_key_that_is_missing_or_another_is_named,
    crate::keys::a_rotation_makes_the_old_key_unnecessary => a_rotation_makes_the_old_key_unnecessary,
    crate::keys::nothing_stored_can_be_read_without_the_key => nothing_stored_can_be_read_without_the_key,
    crate::keys::a_damaged_data_key_is_mended_from_its_copy => a_damaged_data_key_is_mended_from_its_copy,
}
