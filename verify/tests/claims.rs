//! Every claim of the ledger, one test each; the test's name is the claim's.

#![allow(clippy::unwrap_used)]

use inducer_verify::{Ledger, Options, Verdict, render, run};

/// Cases of a small check in one test run; `inducer verify --cases` takes more.
const CASES: usize = 30;
const SEED: u64 = 1;

fn holds(id: &str) {
    let report = run(&Options::new(CASES, SEED).only(id), &|_| {}).unwrap();
    let rows: Vec<_> = report.rows.iter().filter(|row| row.claim == id).collect();
    assert!(!rows.is_empty(), "no row `{id}` in the ledger");
    let failed: Vec<String> = rows
        .iter()
        .filter(|row| row.verdict == Verdict::Failed)
        .map(|row| render::line(row))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

macro_rules! claims {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            holds(&stringify!($name).replace('_', "-"));
        })*

        /// The tests of this file, for the ledger.
        const TESTS: &[&str] = &[$(stringify!($name)),*];
    };
}

claims! {
    eq01_adapter
    eq03_row_normalised
    eq03_scale
    eq03_shift
    eq04_row_blocks
    nw_attention
    nw_constant
    nw_permutation
    nw_repeat
    nw_affine
    prefix_mixture
    prefix_past
    prefix_mu_lse
    prefix_empty
    eq05_key
    eq06_value
    eq07_eq08
    eq07_real_kernel
    eq07_lambda_lse
    eq07_one_query_prefix
    eq08_zero_value
    eq08_gradient
    eq09_extended
    eq09_extension_contains_adaptive
    eq10_merge
    eq10_identity
    eq11_single_product
    eq11_shared_bias
    term_scale
    term_shared_bias
    term_lora_bias
    term_denominator
    term_widths
    term_future
    term_widths_count
    ladder_gating
    ladder_gating_augmented
    ladder_extension
    ladder_adaptive
    ladder_lora
    ladder_mam
    ladder_own_tensors
    models_agree
    gradients_reverse
    eq10_rank
    prefix_reparametrised
    gradients_dual
    gradients_central
    gradient_reaches
    gauss_factor
    gauss_equal_norms
    gate_distance_form
    prefix_distance
    kernel_psd
    nw_hull
    nw_limits
    eq07_lambda_range
    init_near
    init_gating_far
    causal_all_methods
    batch_packing
    padding_all_methods
    inducer_local
    cache_decoding
    frozen_stays
    mixed_masters
    resume_identical
    nystrom_error
    gp_exact_limit
    gp_pseudo_inputs
    gp_bound
    authors_padding
    authors_shared_bias
    authors_without_extension
    authors_lora_bias
    authors_activations
    authors_clipping
    authors_longest_row
    adapter_files
    adapter_files_shape
    counts_fine_tuning
    counts_adapter_108
    counts_lora_54
    counts_prefix_108
    counts_mam_adapter
    counts_adaptive
    counts_extension
    counts_gating
    counts_inducer
    counts_inducer_lora
    counts_mam_inducer
    counts_nlu_inducer
    counts_nlu_inducer_lora
    counts_nlu_mam_inducer
    counts_nlu_bitfit
    counts_prefix_108_train
    store_equals_train
    roberta_agree
    roberta_gradients
    roberta_gradients_dual
    roberta_packing
    roberta_padding
}

#[test]
fn every_claim_of_the_ledger_that_can_be_checked_has_its_test_here() {
    let ledger = Ledger::read().unwrap();
    let checkable = ledger.claim.iter().filter(|row| row.measured.is_none());
    let wanted: Vec<String> = checkable.map(|row| row.id.replace('-', "_")).collect();
    assert_eq!(TESTS, wanted);
}

#[test]
fn every_claim_passes_at_the_few_cases_of_a_report_too() {
    let report = run(&Options::new(4, SEED), &|_| {}).unwrap();
    let failed: Vec<String> = report
        .rows
        .iter()
        .filter(|row| row.verdict == Verdict::Failed)
        .map(render::line)
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
