(** §4.2: prefix-tuning as a gated mixture, and why a far prefix cannot modulate.

        f_prefix(q) = (1 − μ(q)) f(q) + μ(q) · softmax(q P_kᵀ/√p) P_v,
        μ(q) = Σ_a κ(q, P_k,a) / (Σ_a κ(q, P_k,a) + Σ_j κ(q, k_j))

    A prefix is a list P of points (P_k,a, P_v,a); the text's support points are S. *)

From Inducer Require Export Kernel.

(** The logistic function and the log-sum-exp of a row of scores. *)
Definition σ (x : R) : R := 1 / (1 + exp (- x)).
Definition LSE (p : nat) (q : Vec) (S : list Point) : R := ln (Σ s ∈ S, exp (score p q (key s))).

(** μ(q): the prefix's share of the mass. *)
Definition μ (κ : Kernel) (q : Vec) (P S : list Point) : R :=
  mass κ q P / (mass κ q P + mass κ q S).

Lemma exp_LSE p q S : S <> [] -> exp (LSE p q S) = mass (κ_exp p) q S.
Proof. intros HS. apply exp_ln, (@mass_pos (κ_exp p) q S (@κ_exp_positive p) HS). Qed.

(** x/(x + y) is the logistic function of ln x − ln y. *)
Lemma share_is_logistic x y : 0 < x -> 0 < y -> x / (x + y) = σ (ln x - ln y).
Proof.
  intros Hx Hy. unfold σ.
  replace (- (ln x - ln y)) with (ln y + - ln x) by ring.
  rewrite exp_plus, exp_Ropp, !exp_ln by assumption. field. lra.
Qed.

Lemma share_rises x x' y : 0 <= x -> x < x' -> 0 < y -> x / (x + y) < x' / (x' + y).
Proof.
  intros Hx H Hy. apply Rmult_lt_reg_r with ((x + y) * (x' + y)); [nra|].
  replace (x / (x + y) * ((x + y) * (x' + y))) with (x * (x' + y)) by (field; lra).
  replace (x' / (x' + y) * ((x + y) * (x' + y))) with (x' * (x + y)) by (field; lra). nra.
Qed.

Lemma σ_rises x y : x < y -> σ x < σ y.
Proof.
  intros H. unfold σ, Rdiv. rewrite !Rmult_1_l. pose proof (exp_pos (- x)).
  pose proof (exp_pos (- y)). assert (exp (- y) < exp (- x)) by (apply exp_increasing; lra).
  apply Rinv_lt_contravar; nra.
Qed.

(** §4.2.  Prefix attention is a gated mixture: the estimator over the prefix's points and the
    text's is (1 − μ) f + μ · (the estimator over the prefix). *)
Theorem prefix_mixture κ q P S : positive κ -> P <> [] -> S <> [] ->
  NW κ q (P ++ S) = (1 - μ κ q P S) ⊙ NW κ q S ⊕ μ κ q P S ⊙ NW κ q P.
Proof.
  intros Hκ HP HS. pose proof (mass_pos q Hκ HP). pose proof (mass_pos q Hκ HS).
  coordinates. unfold NW at 1. rewrite mass_app, sum_app, !numerator by assumption.
  unfold μ. field. lra.
Qed.

(** §4.2.  The mixture is attention over past keys and values placed before the text's:
    softmax(q [P_k; K]ᵀ/√p) [P_v; V]. *)
Theorem prefix_past p q P S : P <> [] -> S <> [] ->
  attention p q (P ++ S) =
  (1 - μ (κ_exp p) q P S) ⊙ attention p q S ⊕ μ (κ_exp p) q P S ⊙ attention p q P.
Proof. intros. rewrite !nw_attention. apply prefix_mixture; auto. Qed.

(** §4.2.  0 < μ < 1: neither the text nor the prefix is ever silenced. *)
Theorem prefix_mu_range κ q P S : positive κ -> P <> [] -> S <> [] -> 0 < μ κ q P S < 1.
Proof.
  intros Hκ HP HS. pose proof (mass_pos q Hκ HP). pose proof (mass_pos q Hκ HS).
  unfold μ. split; [apply Rdiv_lt_0_compat; lra|].
  apply Rmult_lt_reg_r with (mass κ q P + mass κ q S); [lra|].
  unfold Rdiv. rewrite Rmult_assoc, Rinv_l; lra.
Qed.

(** §4.2.  μ is the logistic function of two log-sum-exps: μ = σ(LSE_prefix − LSE). *)
Theorem prefix_mu_lse p q P S : P <> [] -> S <> [] ->
  μ (κ_exp p) q P S = σ (LSE p q P - LSE p q S).
Proof. intros HP HS. apply share_is_logistic; apply mass_pos; auto. Qed.

(** §4.2.  A prefix of length 0 is the backbone: μ = 0 and f_prefix = f. *)
Theorem prefix_empty κ q S : μ κ q [] S = 0 /\ NW κ q ([] ++ S) = NW κ q S.
Proof. split; [unfold μ, mass; simpl; unfold Rdiv; ring | reflexivity]. Qed.

(** §4.2.  The gate of an added point is a function of two norms and of its distance from the
    query: σ((‖q‖² + ‖P‖² − ‖q − P‖²)/2√p − LSE). *)
Theorem gate_distance_form p q k v S : (0 < p)%nat -> S <> [] ->
  μ (κ_exp p) q [(k, v)] S =
  σ ((norm2 p q + norm2 p k - norm2 p (q ⊖ k)) / (2 * sqrt (INR p)) - LSE p q S).
Proof.
  intros Hp HS. rewrite prefix_mu_lse by (auto; discriminate). f_equal. f_equal.
  unfold LSE. simpl. rewrite Rplus_0_r, ln_exp. unfold score, key. simpl.
  rewrite norm2_sub. pose proof (sqrt_pos_nat Hp). field. lra.
Qed.

(** §4.2.  With norms held fixed μ falls strictly with the distance of the prefix's key from the
    query: ‖P − q‖ < ‖P' − q‖ and ‖P‖ = ‖P'‖ give μ(P) > μ(P'). *)
Theorem prefix_distance p q k k' v v' S : (0 < p)%nat -> S <> [] ->
  norm2 p k = norm2 p k' -> norm2 p (q ⊖ k) < norm2 p (q ⊖ k') ->
  μ (κ_exp p) q [(k', v')] S < μ (κ_exp p) q [(k, v)] S.
Proof.
  intros Hp HS Hnorm Hdist. rewrite !gate_distance_form by assumption. apply σ_rises.
  apply Rplus_lt_compat_r, Rmult_lt_compat_r; [|lra].
  pose proof (sqrt_pos_nat Hp). apply Rinv_0_lt_compat. lra.
Qed.

(** §4.2.  A far prefix cannot modulate: if every key of a prefix of length l has norm at most ρ
    and lies at distance at least δ from the query, then
    μ ≤ l exp((‖q‖² + ρ² − δ²)/2√p) / Σ_j κ(q, k_j), which tends to 0 as δ grows. *)
Theorem prefix_far p q P S ρ2 δ2 : (0 < p)%nat -> P <> [] -> S <> [] ->
  (forall x, In x P -> norm2 p (key x) <= ρ2 /\ δ2 <= norm2 p (q ⊖ key x)) ->
  μ (κ_exp p) q P S <=
  INR (length P) * exp ((norm2 p q + ρ2 - δ2) / (2 * sqrt (INR p))) / mass (κ_exp p) q S.
Proof.
  intros Hp HP HS Hfar. pose proof (@mass_pos _ q P (@κ_exp_positive p) HP) as HmP.
  pose proof (@mass_pos _ q S (@κ_exp_positive p) HS) as HmS. unfold μ.
  apply Rle_trans with (mass (κ_exp p) q P / mass (κ_exp p) q S).
  - apply Rmult_le_compat_l; [lra|]. apply Rinv_le_contravar; lra.
  - apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat, HmS|].
    rewrite <- (sum_const P). apply sum_le. intros x Hx. destruct (Hfar x Hx) as [Hn Hd].
    unfold κ_exp, score. apply exp_le. rewrite norm2_sub in Hd.
    pose proof (sqrt_pos_nat Hp) as Hs.
    apply Rmult_le_reg_r with (2 * sqrt (INR p)); [lra|].
    replace (dot p q (key x) / sqrt (INR p) * (2 * sqrt (INR p))) with (2 * dot p q (key x))
      by (field; lra).
    replace ((norm2 p q + ρ2 - δ2) / (2 * sqrt (INR p)) * (2 * sqrt (INR p)))
      with (norm2 p q + ρ2 - δ2) by (field; lra).
    lra.
Qed.

(** * What fails *)

(** False: μ and 1 − μ may be swapped. *)
Theorem refuted_swapped_mixture :
  ~ forall κ q P S, positive κ -> P <> [] -> S <> [] ->
    NW κ q (P ++ S) = μ κ q P S ⊙ NW κ q S ⊕ (1 - μ κ q P S) ⊙ NW κ q P.
Proof.
  intros H. specialize (H example_kernel zero [(all 0, all 0)] [(all 1, all 1)]
    example_kernel_positive ltac:(discriminate) ltac:(discriminate)).
  apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold NW, μ, mass, example_kernel, all, zero, add, scale, key, coefficient. simpl.
  intros H. field_simplify in H. lra.
Qed.

(** False: a prefix of length 1 that is all zero is the backbone. *)
Theorem refuted_zero_prefix_is_empty :
  ~ forall κ q S, positive κ -> S <> [] -> NW κ q ([(zero, zero)] ++ S) = NW κ q S.
Proof.
  intros H. specialize (H example_kernel zero [(all 0, all 1)] example_kernel_positive
    ltac:(discriminate)).
  apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold NW, mass, example_kernel, all, zero, key, coefficient. simpl.
  intros H. field_simplify in H. lra.
Qed.

(** False: row maxima may stand for log-sum-exps. *)
Theorem refuted_mu_from_row_maxima :
  ~ forall p q k v S m, (exists s, In s S /\ score p q (key s) = m) ->
    (forall s, In s S -> score p q (key s) <= m) ->
    μ (κ_exp p) q [(k, v)] S = σ (score p q k - m).
Proof.
  intros H. specialize (H 1%nat zero zero zero [(zero, zero); (zero, zero)] (score 1 zero zero)).
  assert (HH := H ltac:(exists (zero, zero); split; [left|]; reflexivity)
                  ltac:(intros s [<-|[<-|[]]]; apply Rle_refl)).
  assert (Hs : score 1 zero zero = 0) by
    (unfold score, dot, zero; simpl; unfold Rdiv; ring).
  revert HH. unfold μ, σ, mass, κ_exp, key. simpl. rewrite Hs.
  replace (- (0 - 0)) with 0 by ring. rewrite exp_0. intros HH. field_simplify in HH. lra.
Qed.

(** False: μ falls with the distance whatever the norms. *)
Theorem refuted_distance_without_equal_norms :
  ~ forall p q k k' v S, (0 < p)%nat -> S <> [] ->
    norm2 p (q ⊖ k) < norm2 p (q ⊖ k') ->
    μ (κ_exp p) q [(k', v)] S < μ (κ_exp p) q [(k, v)] S.
Proof.
  intros H. specialize (H 1%nat (all 1) (all 1) (all 3) zero [(zero, zero)] ltac:(lia)
    ltac:(discriminate)).
  assert (HH := H ltac:(unfold norm2, dot, sub, all; simpl; lra)). revert HH.
  apply Rle_not_lt. left. unfold μ. apply share_rises.
  - left. apply mass_pos; [auto | discriminate].
  - unfold mass, κ_exp, score, dot, key, all. simpl. rewrite sqrt_1, !Rplus_0_r.
    apply exp_increasing. lra.
  - apply mass_pos; [auto | discriminate].
Qed.
