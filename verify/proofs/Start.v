(** §5: where training begins.  All tensors of MLP_k and MLP_v start within τ = 2 · 0.01 of 0, so
    the output starts within a derived bound of the frozen layer's; under Gating it starts far. *)

From Coquelicot Require Import Coquelicot.
From Inducer Require Export Visible.

(** An activation of modulus at most min(1, |z|), as tanh is. *)
Definition tame (φ : R -> R) := forall z, Rabs (φ z) <= Rmin 1 (Rabs z).

(** ‖x‖_1 of x ∈ R^p. *)
Definition norm1 (p : nat) (x : Vec) : R := Σ a < p, Rabs (x a).

Lemma tanh_odd z : tanh (- z) = - tanh z.
Proof. unfold tanh, sinh, cosh. rewrite Ropp_involutive. field.
  pose proof (exp_pos z). pose proof (exp_pos (- z)). lra. Qed.

(** sinh z ≤ z cosh z for z ≥ 0: the difference has the derivative z sinh z ≥ 0. *)
Lemma sinh_le_z_cosh z : 0 < z -> sinh z <= z * cosh z.
Proof.
  intros Hz. set (g := fun x => x * cosh x - sinh x).
  assert (D : forall x, is_derive g x (x * sinh x)).
  { intros x. unfold g, cosh, sinh. auto_derive; [trivial|]. field. }
  destruct (MVT_gen g 0 z (fun x => x * sinh x)) as [c [Hc E]].
  - intros x _. apply D.
  - intros x _. apply continuity_pt_filterlim, (ex_derive_continuous g).
    exists (x * sinh x). apply D.
  - rewrite Rmin_left, Rmax_right in Hc by lra.
    assert (G0 : g 0 = 0) by (unfold g, sinh; rewrite Ropp_0; field).
    assert (0 <= sinh c).
    { unfold sinh. assert (exp (- c) <= exp c) by (apply exp_le; lra). lra. }
    rewrite G0 in E. unfold g in E. assert (0 <= c * sinh c * (z - 0)) by
      (apply Rmult_le_pos; [apply Rmult_le_pos|]; lra).
    lra.
Qed.

(** §5.  |tanh z| ≤ min(1, |z|). *)
Theorem tanh_is_tame : tame tanh.
Proof.
  assert (P : forall z, 0 <= z -> 0 <= tanh z <= Rmin 1 z).
  { intros z Hz. pose proof (exp_pos z). pose proof (exp_pos (- z)).
    assert (Hc : 0 < cosh z) by (unfold cosh; lra).
    assert (Hs : 0 <= sinh z).
    { unfold sinh. assert (exp (- z) <= exp z) by (apply exp_le; lra). lra. }
    unfold tanh. split; [apply Rmult_le_pos; [exact Hs | left; apply Rinv_0_lt_compat, Hc]|].
    apply Rmin_glb.
    - apply Rmult_le_reg_r with (cosh z); [exact Hc|].
      unfold Rdiv. rewrite Rmult_assoc, Rinv_l by lra. unfold sinh, cosh. lra.
    - apply Rmult_le_reg_r with (cosh z); [exact Hc|].
      unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
      destruct Hz as [Hz| <-]; [apply sinh_le_z_cosh, Hz|].
      unfold sinh. rewrite Ropp_0. lra. }
  intros z. destruct (Rle_or_lt 0 z) as [Hz|Hz].
  - rewrite (Rabs_right z) by lra. rewrite Rabs_right; [apply P, Hz | apply Rle_ge, P, Hz].
  - rewrite (Rabs_left z) by lra. replace (tanh z) with (- tanh (- z)) by
      (rewrite tanh_odd; ring).
    rewrite Rabs_Ropp, Rabs_right; [apply P; lra | apply Rle_ge, P; lra].
Qed.

(** Coordinates of a bottleneck's output whose tensors are all within τ of 0. *)
Lemma small_bottleneck p r φ W1 b1 W2 τ x c : tame φ -> 0 <= τ ->
  (forall a b, Rabs (W1 a b) <= τ) -> (forall b, Rabs (b1 b) <= τ) ->
  (forall b c, Rabs (W2 b c) <= τ) ->
  Rabs (mul r (fun b => φ (mul p x W1 b + b1 b)) W2 c) <=
  τ * (INR r * Rmin 1 (τ * (norm1 p x + 1))).
Proof.
  intros Hφ Hτ HW1 Hb1 HW2. unfold mul at 1.
  eapply Rle_trans; [apply sum_abs|].
  apply Rle_trans with (Σ _b < r, τ * Rmin 1 (τ * (norm1 p x + 1))).
  - apply sum_le. intros b _. rewrite Rabs_mult, Rmult_comm.
    apply Rmult_le_compat; try apply Rabs_pos; [apply HW2|].
    eapply Rle_trans; [apply Hφ|]. apply Rle_min_compat_l.
    eapply Rle_trans; [apply Rabs_triang|].
    replace (τ * (norm1 p x + 1)) with (norm1 p x * τ + τ) by ring.
    apply Rplus_le_compat; [|apply Hb1].
    eapply Rle_trans; [apply sum_abs|]. unfold norm1. rewrite <- sum_scale_r.
    apply sum_le. intros a _. rewrite Rabs_mult.
    apply Rmult_le_compat_l; [apply Rabs_pos | apply HW1].
  - rewrite sum_const, seq_length. right. ring.
Qed.

Section Start.
Variables (H p r : nat) (Wo : Mat) (bo : Vec).
Variables (κ : Kernel) (q : nat -> Vec) (S : nat -> list Point) (φ : R -> R) (τ : R).
Variables (MLP_k : nat -> Vec -> Vec) (W1 W2 : nat -> Mat) (b1 : nat -> Vec) (b2 : Vec).
(** Throughout, let κ be positive, let every head's query see a key, let φ be as tanh is, and let
    all tensors of MLP_v be within τ of 0.  MLP_k may be any function. *)
Hypotheses (Hκ : positive κ) (HS : forall h, S h <> []) (Hφ : tame φ) (Hτ : 0 <= τ).
Hypothesis (HW1 : forall h a b, Rabs (W1 h a b) <= τ).
Hypothesis (Hb1 : forall h b, Rabs (b1 h b) <= τ).
Hypothesis (HW2 : forall h b c, Rabs (W2 h b c) <= τ).
Hypothesis (Hb2 : forall c, Rabs (b2 c) <= τ).

Definition frozen : Vec := (∑ h < H, extended_f p Wo κ q S h) ⊕ bo.
Definition update (h : nat) (x : Vec) : Vec :=
  mul r (fun b => φ (mul p x (W1 h) b + b1 h b)) (W2 h).
Definition lam (h : nat) : R := gate κ q S MLP_k h.
Definition hidden_bound (h : nat) : R := INR r * Rmin 1 (τ * (norm1 p (q h) + 1)).
Definition start_bound : R := τ * (1 + Σ h < H, lam h * hidden_bound h).

Lemma lam_range h : 0 < lam h < 1.
Proof. apply eq07_lambda_range; auto. Qed.

Lemma update_bound c :
  Rabs ((Σ h < H, lam h * update h (q h) c) + b2 c) <= start_bound.
Proof.
  unfold start_bound. rewrite Rmult_plus_distr_l, Rmult_1_r, Rplus_comm.
  eapply Rle_trans; [apply Rabs_triang|]. apply Rplus_le_compat; [apply Hb2|].
  eapply Rle_trans; [apply sum_abs|]. rewrite <- sum_scale. apply sum_le. intros h _.
  pose proof (lam_range h). rewrite Rabs_mult, Rabs_right by lra.
  replace (τ * (lam h * hidden_bound h)) with (lam h * (τ * hidden_bound h)) by ring.
  apply Rmult_le_compat_l; [lra|]. apply small_bottleneck; auto.
Qed.

(** §5.  At the paper's start Inducer (and Extension, MLP_k = 0) is within a derived bound of the
    frozen layer: |output − frozen| ≤ τ (1 + Σ_h λ^(h) r_v min(1, τ (‖q^(h)‖_1 + 1))). *)
Theorem init_near c :
  Rabs (inducer H p Wo bo κ q S MLP_k update b2 c - frozen c) <= start_bound.
Proof.
  replace (_ - _) with ((Σ h < H, lam h * update h (q h) c) + b2 c); [apply update_bound|].
  unfold inducer, output, frozen, add, sum_vec, scale, lam. rewrite sum_plus. ring.
Qed.

(** §5.  Under Gating the start is at least |Σ_h λ^(h) f^(h) W^{o(h)}| less that bound away from the
    frozen layer. *)
Theorem init_gating_far c :
  Rabs (Σ h < H, lam h * extended_f p Wo κ q S h c) - start_bound <=
  Rabs (gating H p Wo bo κ q S MLP_k update b2 c - frozen c).
Proof.
  pose proof (init_near c) as N.
  assert (G := f_equal (fun x => x c) (ladder_gating H p Wo bo κ q S MLP_k update b2)).
  unfold sub, scale, sum_vec in G. simpl in G.
  set (far := Σ h < H, lam h * extended_f p Wo κ q S h c) in *.
  assert (E : gating H p Wo bo κ q S MLP_k update b2 c - frozen c =
              - (far - (inducer H p Wo bo κ q S MLP_k update b2 c - frozen c))).
  { unfold far, lam. unfold scale in G. lra. }
  rewrite E, Rabs_Ropp.
  pose proof (Rabs_triang_inv far (inducer H p Wo bo κ q S MLP_k update b2 c - frozen c)). lra.
Qed.

(** §5.  Adaptive starts within τ Σ_h λ^(h) (1 + r_v min(…)) Σ_a |W^{o(h)}_ac|: here W2 h stands for
    its matrix into R^p and c h for its bias. *)
Theorem init_near_adaptive (bias : nat -> Vec) c : (forall h a, Rabs (bias h a) <= τ) ->
  Rabs (adaptive H p Wo bo κ q S (fun h x => update h x ⊕ bias h) c - frozen c) <=
  τ * Σ h < H, λ κ (q h) (q h) (S h) * (1 + hidden_bound h)
               * Σ a < p, Rabs (row_block p h Wo a c).
Proof.
  intros Hbias. unfold adaptive. rewrite eq04_row_blocks.
  replace (_ - _) with
    (Σ h < H, λ κ (q h) (q h) (S h) * mul p (update h (q h) ⊕ bias h) (row_block p h Wo) c).
  - eapply Rle_trans; [apply sum_abs|]. rewrite <- sum_scale. apply sum_le. intros h _.
    pose proof (@eq07_lambda_range κ (q h) (q h) (S h) Hκ (@HS h)).
    rewrite Rabs_mult, Rabs_right by lra.
    set (l := λ κ (q h) (q h) (S h)) in *.
    replace (τ * (l * (1 + hidden_bound h) * Σ a < p, Rabs (row_block p h Wo a c)))
      with (l * (Σ a < p, Rabs (row_block p h Wo a c) * (τ * (1 + hidden_bound h)))) by
      (rewrite sum_scale_r; ring).
    apply Rmult_le_compat_l; [lra|]. unfold mul at 1.
    eapply Rle_trans; [apply sum_abs|]. apply sum_le. intros a _.
    rewrite Rabs_mult, Rmult_comm. apply Rmult_le_compat_l; [apply Rabs_pos|].
    unfold add. eapply Rle_trans; [apply Rabs_triang|].
    rewrite Rmult_plus_distr_l, Rmult_1_r, Rplus_comm.
    apply Rplus_le_compat; [apply Hbias | apply small_bottleneck; auto].
  - set (v := fun h => update h (q h) ⊕ bias h).
    change (Σ h < H, λ κ (q h) (q h) (S h) * mul p (v h) (row_block p h Wo) c =
      (Σ h < H, mul p (NW κ (q h) (S h) ⊕ λ κ (q h) (q h) (S h) ⊙ v h) (row_block p h Wo) c)
      + bo c - ((Σ h < H, mul p (NW κ (q h) (S h)) (row_block p h Wo) c) + bo c)).
    rewrite (sum_ext (seq 0 H) (fun h => mul p (_ ⊕ _) _ c)
      (fun h => mul p (NW κ (q h) (S h)) (row_block p h Wo) c
        + λ κ (q h) (q h) (S h) * mul p (v h) (row_block p h Wo) c)).
    + rewrite sum_plus. ring.
    + intros h _. rewrite mul_add, mul_scale. reflexivity.
Qed.
End Start.

(** * What fails *)

(** False: the bound for a deviation of 0.01 holds for one a hundred times as large. *)
Theorem refuted_start_bound_for_larger_tensors :
  ~ forall (b2 : Vec) τ c, 0 < τ -> (forall c, Rabs (b2 c) <= 100 * τ) ->
    let Wo := fun _ _ => 0 in let q := fun _ => zero in
    Rabs (inducer 0 0 Wo zero example_kernel q one_point no_MLP no_MLP b2 c
          - frozen 0 0 Wo zero example_kernel q one_point c) <= τ.
Proof.
  intros E. specialize (E (all 100) 1 0%nat ltac:(lra)
    ltac:(intros; unfold all; rewrite Rabs_right; lra)). revert E.
  unfold inducer, output, frozen, sum_vec, add, zero, all. simpl.
  rewrite Rabs_right by lra. lra.
Qed.
