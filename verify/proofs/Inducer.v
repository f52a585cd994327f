(** Equations (5)–(8): inducers, one virtual token (P_k, P_v) for each query q, made from it alone.

        P_k = q + MLP_k(q),   P_v = f(q) + MLP_v(q)                                       (5), (6)
        f̃(q) = NW(q; [P_k; K], [P_v; V]) = λ P_v + (1 − λ) f(q) = f(q) + λ MLP_v(q)        (7), (8)
        λ = κ(q, P_k) / (κ(q, P_k) + Σ_j κ(q, k_j)) = σ(s − LSE),   s = ⟨q, P_k⟩/√p

    MLP_k and MLP_v are any functions here: nothing depends on what is inside them. *)

From Inducer Require Export Prefix.

Section Inducer.
Variables (MLP_k MLP_v : Vec -> Vec).

(** (5) and (6). *)
Definition inducer_key (q : Vec) : Vec := q ⊕ MLP_k q.
Definition inducer_value (κ : Kernel) (q : Vec) (S : list Point) : Vec := NW κ q S ⊕ MLP_v q.

(** λ of a virtual key, the estimator over the inducer and the visible points, and (8). *)
Definition λ (κ : Kernel) (q Pk : Vec) (S : list Point) : R := κ q Pk / (κ q Pk + mass κ q S).
Definition augmented (κ : Kernel) (q : Vec) (S : list Point) : Vec :=
  NW κ q ((inducer_key q, inducer_value κ q S) :: S).
Definition residual (κ : Kernel) (q : Vec) (S : list Point) : Vec :=
  NW κ q S ⊕ λ κ q (inducer_key q) S ⊙ MLP_v q.

(** λ is the μ of a prefix of length 1. *)
Lemma λ_is_μ κ q Pk Pv S : λ κ q Pk S = μ κ q [(Pk, Pv)] S.
Proof. unfold λ, μ, mass. simpl. rewrite Rplus_0_r. reflexivity. Qed.

(** Eq. 5.  The virtual key is the query plus its bottleneck, so it lies at distance ‖MLP_k(q)‖ from
    the query and its score is (‖q‖² + ⟨q, MLP_k(q)⟩)/√p. *)
Theorem eq05_key p q :
  inducer_key q ⊖ q = MLP_k q /\
  score p q (inducer_key q) = (norm2 p q + dot p q (MLP_k q)) / sqrt (INR p).
Proof.
  unfold inducer_key, score. split.
  - coordinates. ring.
  - rewrite (dot_sym p q (q ⊕ MLP_k q)), dot_add, (dot_sym p (MLP_k q)). reflexivity.
Qed.

(** Eq. 6.  The virtual value is the estimate plus its bottleneck: f in it is what leaves the frozen
    estimate as it was.  An inducer whose value is f changes nothing, whatever its key. *)
Theorem eq06_value κ q Pk S : positive κ -> S <> [] ->
  inducer_value κ q S ⊖ NW κ q S = MLP_v q /\ NW κ q ((Pk, NW κ q S) :: S) = NW κ q S.
Proof.
  intros Hκ HS. split; [unfold inducer_value; coordinates; ring|].
  pose proof (mass_pos q Hκ HS) as Hm. pose proof (Hκ q Pk).
  coordinates. unfold NW at 1. simpl. rewrite numerator by assumption.
  unfold key, coefficient, mass at 2. simpl. fold (key). fold (mass κ q S). field. lra.
Qed.

(** Eq. 7.  The estimator over n + 1 support points is a mixture with weight λ, for any virtual key
    and value. *)
Theorem eq07_mixture κ q Pk Pv S : positive κ -> S <> [] ->
  NW κ q ((Pk, Pv) :: S) = λ κ q Pk S ⊙ Pv ⊕ (1 - λ κ q Pk S) ⊙ NW κ q S.
Proof.
  intros Hκ HS. pose proof (mass_pos q Hκ HS) as Hm. pose proof (Hκ q Pk).
  coordinates. unfold NW at 1. simpl. rewrite numerator by assumption.
  unfold key, coefficient, λ, mass at 2. simpl. fold (mass κ q S). field. lra.
Qed.

(** Eqs. 7, 8.  The estimator over n + 1 support points is the residual form, for every positive
    kernel: NW(q; [P_k; K], [P_v; V]) = λ P_v + (1 − λ) f = f + λ MLP_v(q). *)
Theorem eq07_eq08 κ q S : positive κ -> S <> [] ->
  augmented κ q S =
    λ κ q (inducer_key q) S ⊙ inducer_value κ q S
      ⊕ (1 - λ κ q (inducer_key q) S) ⊙ NW κ q S
  /\ augmented κ q S = residual κ q S.
Proof.
  intros Hκ HS. assert (H := eq07_mixture q (inducer_key q) (inducer_value κ q S) Hκ HS).
  split; [exact H|]. unfold augmented. rewrite H. unfold residual, inducer_value.
  coordinates. ring.
Qed.

(** Eq. 7.  λ needs no second softmax: it is the logistic function of the own score less the row's
    log-sum-exp, λ = σ(s − LSE) = σ(s − ln Σ_j κ(q, k_j)). *)
Theorem eq07_lambda_lse p q Pk S : S <> [] ->
  λ (κ_exp p) q Pk S = σ (score p q Pk - LSE p q S) /\
  LSE p q S = ln (mass (κ_exp p) q S).
Proof.
  intros HS. split; [|reflexivity].
  replace (score p q Pk) with (ln (κ_exp p q Pk)) by apply ln_exp.
  apply share_is_logistic; [apply exp_pos | apply (@mass_pos (κ_exp p)); auto].
Qed.

(** Eq. 7.  The same for any positive kernel: λ = σ(ln κ(q, P_k) − ln Σ_j κ(q, k_j)). *)
Theorem eq07_lambda_any_kernel κ q Pk S : positive κ -> S <> [] ->
  λ κ q Pk S = σ (ln (κ q Pk) - ln (mass κ q S)).
Proof. intros Hκ HS. apply share_is_logistic; [apply Hκ | apply mass_pos; assumption]. Qed.

(** Eqs. 7, 8.  With κ = exp(⟨q,k⟩/√p) the single-pass form, which needs attention's output and its
    log-sum-exp and no more, is attention over n + 1 points. *)
Theorem eq07_real_kernel p q S : S <> [] ->
  let f := attention p q S in
  f ⊕ σ (score p q (q ⊕ MLP_k q) - LSE p q S) ⊙ MLP_v q =
  attention p q ((q ⊕ MLP_k q, f ⊕ MLP_v q) :: S).
Proof.
  intros HS f. unfold f. rewrite !nw_attention.
  destruct (eq07_eq08 q (@κ_exp_positive p) HS) as [_ H].
  symmetry. unfold augmented, residual, inducer_value, inducer_key in H. rewrite H.
  destruct (eq07_lambda_lse p q (q ⊕ MLP_k q) HS) as [Hλ _]. rewrite Hλ. reflexivity.
Qed.

(** Eq. 7.  λ lies strictly between 0 and 1. *)
Theorem eq07_lambda_range κ q Pk S : positive κ -> S <> [] -> 0 < λ κ q Pk S < 1.
Proof.
  intros Hκ HS. rewrite (λ_is_μ κ q Pk zero). apply prefix_mu_range; auto. discriminate.
Qed.

(** Eq. 7.  λ rises with the own score. *)
Theorem eq07_lambda_rises κ q Pk Pk' S : positive κ -> S <> [] ->
  κ q Pk < κ q Pk' -> λ κ q Pk S < λ κ q Pk' S.
Proof.
  intros Hκ HS H. apply share_rises; [left; apply Hκ | exact H | apply mass_pos; assumption].
Qed.

(** Eq. 7.  λ falls with each further visible key. *)
Theorem eq07_lambda_falls κ q Pk S s : positive κ -> S <> [] ->
  λ κ q Pk (s :: S) < λ κ q Pk S.
Proof.
  intros Hκ HS. pose proof (mass_pos q Hκ HS). pose proof (Hκ q Pk). pose proof (Hκ q (key s)).
  unfold λ, mass at 1. simpl. fold (mass κ q S). apply Rmult_lt_compat_l; [assumption|].
  apply Rinv_lt_contravar; nra.
Qed.

(** Eqs. 5, 7.  The gate by norms and distance, with P_k − q = MLP_k(q): a short MLP_k(q) keeps the
    inducer near its query, λ = σ((‖q‖² + ‖P_k‖² − ‖MLP_k(q)‖²)/2√p − LSE). *)
Theorem inducer_gate_distance p q S : (0 < p)%nat -> S <> [] ->
  λ (κ_exp p) q (inducer_key q) S =
  σ ((norm2 p q + norm2 p (inducer_key q) - norm2 p (MLP_k q)) / (2 * sqrt (INR p))
     - LSE p q S).
Proof.
  intros Hp HS. rewrite (λ_is_μ _ q _ zero), gate_distance_form by assumption.
  replace (norm2 p (MLP_k q)) with (norm2 p (q ⊖ inducer_key q)); [reflexivity|].
  apply sum_ext. intros a _. unfold sub, inducer_key, add. ring.
Qed.

(** §4.3.  An inducer at its query (MLP_k = 0) among n keys no longer than the query is never
    negligible: λ ≥ 1/(n + 1). *)
Theorem inducer_at_its_query p q S : (0 < p)%nat -> S <> [] ->
  (forall s, In s S -> norm2 p (key s) <= norm2 p q) ->
  / (INR (length S) + 1) <= λ (κ_exp p) q q S.
Proof.
  intros Hp HS Hnorm. pose proof (@mass_pos _ q S (@κ_exp_positive p) HS) as Hm.
  assert (Hle : mass (κ_exp p) q S <= INR (length S) * κ_exp p q q).
  { rewrite <- (sum_const S). apply sum_le. intros s Hs. apply own_key_weighs_most; auto. }
  pose proof (@κ_exp_positive p q q) as Hq. pose proof (pos_INR (length S)) as Hn. unfold λ.
  apply Rmult_le_reg_r with ((INR (length S) + 1) * (κ_exp p q q + mass (κ_exp p) q S)); [nra|].
  replace (/ (INR (length S) + 1) * _) with (κ_exp p q q + mass (κ_exp p) q S) by (field; lra).
  replace (κ_exp p q q / _ * _) with (κ_exp p q q * (INR (length S) + 1)) by (field; lra).
  lra.
Qed.

(** Eq. 7, §4.2.  For one query the inducer is a prefix of length 1 with that key and value: the
    mechanism is prefix-tuning's, and λ is μ. *)
Theorem eq07_one_query_prefix κ q S : positive κ -> S <> [] ->
  let P := [(inducer_key q, inducer_value κ q S)] in
  augmented κ q S = (1 - μ κ q P S) ⊙ NW κ q S ⊕ μ κ q P S ⊙ NW κ q P /\
  λ κ q (inducer_key q) S = μ κ q P S.
Proof.
  intros Hκ HS P. split; [|apply λ_is_μ].
  unfold augmented. apply (@prefix_mixture κ q P S); auto. discriminate.
Qed.

(** Eq. 8.  MLP_v = 0 gives f, for every MLP_k. *)
Theorem eq08_zero_value κ q S : positive κ -> S <> [] ->
  MLP_v q = zero -> augmented κ q S = NW κ q S.
Proof.
  intros Hκ HS H0. destruct (eq07_eq08 q Hκ HS) as [_ H]. rewrite H.
  unfold residual. rewrite H0. coordinates. ring.
Qed.

End Inducer.

(** The bottleneck φ(x W_1 + b_1) W_2 + b_2 of R^d with r hidden units, and (1). *)
Definition bottleneck d r (φ : R -> R) (W1 : Mat) (b1 : Vec) (W2 : Mat) (b2 x : Vec) : Vec :=
  mul r (fun b => φ (mul d x W1 b + b1 b)) W2 ⊕ b2.
Definition adapter d r φ W1 b1 W2 b2 (h : Vec) : Vec := h ⊕ bottleneck d r φ W1 b1 W2 b2 h.

(** Eq. 1.  An adapter is a residual bottleneck: it adds φ(h W_1 + b_1) W_2 + b_2 to h, and with
    W_2 = 0 and b_2 = 0 it is the identity. *)
Theorem eq01_adapter d r φ W1 b1 W2 b2 h :
  adapter d r φ W1 b1 W2 b2 h ⊖ h = bottleneck d r φ W1 b1 W2 b2 h /\
  ((forall i j, W2 i j = 0) -> b2 = zero -> adapter d r φ W1 b1 W2 b2 h = h).
Proof.
  unfold adapter, bottleneck. split; [coordinates; ring|].
  intros HW ->. coordinates. unfold mul at 1. rewrite (sum_zero _ (fun a => _ * W2 a c)); [ring|].
  intros a _. rewrite HW. ring.
Qed.

(** Eqs. 1, 8.  The residual form is an adapter's: what an inducer adds to f is λ times what an
    adapter with the tensors of MLP_v adds to the query. *)
Theorem eq08_adapter_form d r φ W1 b1 W2 b2 MLP_k κ q S :
  residual MLP_k (bottleneck d r φ W1 b1 W2 b2) κ q S ⊖ NW κ q S =
  λ κ q (inducer_key MLP_k q) S ⊙ (adapter d r φ W1 b1 W2 b2 q ⊖ q).
Proof. unfold residual, adapter. coordinates. ring. Qed.

(** * What fails *)

(** False: an adapter without the residual h is the identity at W_2 = 0, b_2 = 0. *)
Theorem refuted_adapter_without_residual :
  ~ forall d r φ W1 b1 W2 b2 h, (forall i j, W2 i j = 0) -> b2 = zero ->
    bottleneck d r φ W1 b1 W2 b2 h = h.
Proof.
  intros H. specialize (H 0%nat 0%nat (fun x => x) (fun _ _ => 0) zero (fun _ _ => 0) zero (all 1)
    ltac:(reflexivity) ltac:(reflexivity)).
  apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold bottleneck, mul, add, zero, all. simpl. lra.
Qed.

(** False: λ may be replaced by 1 − λ. *)
Theorem refuted_one_minus_lambda :
  ~ forall κ q Pk Pv S, positive κ -> S <> [] ->
    NW κ q ((Pk, Pv) :: S) = (1 - λ κ q Pk S) ⊙ Pv ⊕ λ κ q Pk S ⊙ NW κ q S.
Proof.
  intros H. specialize (H example_kernel zero (all 0) (all 1) [(all 1, all 0)]
    example_kernel_positive ltac:(discriminate)).
  apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold NW, λ, mass, example_kernel, all, zero, add, scale, key, coefficient. simpl.
  intros H. field_simplify in H. lra.
Qed.

(** False: λ's denominator has the n visible points alone. *)
Theorem refuted_lambda_from_n_points :
  ~ forall κ q Pk Pv S, positive κ -> S <> [] ->
    let l := κ q Pk / mass κ q S in
    NW κ q ((Pk, Pv) :: S) = l ⊙ Pv ⊕ (1 - l) ⊙ NW κ q S.
Proof.
  intros H. specialize (H example_kernel zero (all 0) (all 1) [(all 0, all 0)]
    example_kernel_positive ltac:(discriminate)).
  apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold NW, mass, example_kernel, all, zero, add, scale, key, coefficient. simpl.
  intros H. field_simplify in H. lra.
Qed.

(** False: f may be dropped from P_v. *)
Theorem refuted_value_without_f :
  ~ forall (MLP_k MLP_v : Vec -> Vec) κ q S, positive κ -> S <> [] ->
    NW κ q ((inducer_key MLP_k q, MLP_v q) :: S) = residual MLP_k MLP_v κ q S.
Proof.
  intros H. specialize (H (fun _ => zero) (fun _ => zero) example_kernel zero [(all 0, all 1)]
    example_kernel_positive ltac:(discriminate)).
  apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold NW, residual, inducer_key, λ, mass, example_kernel, all, zero, add, scale, key,
    coefficient, NW, mass. simpl.
  intros H. field_simplify in H. lra.
Qed.

(** False: λ may be taken from √p-free scores, s = ⟨q, P_k⟩, beside scaled scores of the text. *)
Theorem refuted_own_score_without_sqrt_p :
  ~ forall p q Pk S, (0 < p)%nat -> S <> [] ->
    λ (κ_exp p) q Pk S = σ (dot p q Pk - LSE p q S).
Proof.
  intros H. specialize (H 4%nat (all 1) (all 1) [(zero, zero)] ltac:(lia) ltac:(discriminate)).
  destruct (eq07_lambda_lse 4 (all 1) (all 1) (S := [(zero, zero)]) ltac:(discriminate)) as [Hl _].
  rewrite Hl in H.
  assert (Hlt : score 4 (all 1) (all 1) < dot 4 (all 1) (all 1)).
  { unfold score, dot, all. simpl. replace (1 + 1 + 1 + 1) with (2 * 2) by ring.
    rewrite sqrt_square by lra. lra. }
  pose proof (σ_rises (x := score 4 (all 1) (all 1) - LSE 4 (all 1) [(zero, zero)])
    (y := dot 4 (all 1) (all 1) - LSE 4 (all 1) [(zero, zero)]) ltac:(lra)). lra.
Qed.

(** False: λ rises when a further key becomes visible. *)
Theorem refuted_lambda_rises_with_keys :
  ~ forall κ q Pk S s, positive κ -> S <> [] -> λ κ q Pk S <= λ κ q Pk (s :: S).
Proof.
  intros H.
  pose proof (H example_kernel zero zero [(zero, zero)] (zero, zero) example_kernel_positive
    ltac:(discriminate)).
  pose proof (@eq07_lambda_falls example_kernel zero zero [(zero, zero)] (zero, zero)
    example_kernel_positive ltac:(discriminate)). lra.
Qed.

(** False: two such points make the same prefix as one. *)
Theorem refuted_prefix_of_length_two :
  ~ forall κ q s S, positive κ -> S <> [] -> NW κ q (s :: S) = NW κ q ([s; s] ++ S).
Proof.
  intros H. specialize (H example_kernel zero (all 0, all 1) [(all 0, all 0)]
    example_kernel_positive ltac:(discriminate)).
  apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold NW, mass, example_kernel, all, zero, key, coefficient. simpl.
  intros H. field_simplify in H. lra.
Qed.

(** False: an inducer's value MLP_v = 1 leaves f as it was. *)
Theorem refuted_value_of_ones :
  ~ forall κ q S, positive κ -> S <> [] ->
    augmented (fun _ => zero) (fun _ => all 1) κ q S = NW κ q S.
Proof.
  intros H. specialize (H example_kernel zero [(all 0, all 0)] example_kernel_positive
    ltac:(discriminate)).
  destruct (eq07_eq08 (fun _ => zero) (fun _ => all 1) zero (κ := example_kernel)
    (S := [(all 0, all 0)]) example_kernel_positive ltac:(discriminate)) as [_ Hr].
  rewrite Hr in H. apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold residual, NW, λ, mass, inducer_key, example_kernel, all, zero, add, scale, key,
    coefficient. simpl.
  intros H. field_simplify in H. lra.
Qed.

(** False: λ ≥ 1/(n + 1) without the condition on the keys' lengths. *)
Theorem refuted_at_its_query_among_longer_keys :
  ~ forall p q S, (0 < p)%nat -> S <> [] -> / (INR (length S) + 1) <= λ (κ_exp p) q q S.
Proof.
  intros H. specialize (H 1%nat (all 1) [(all 2, zero)] ltac:(lia) ltac:(discriminate)).
  revert H. unfold λ, mass, κ_exp, score, dot, all, key. simpl.
  rewrite sqrt_1. replace ((1 * 1 + 0) / 1) with 1 by field.
  replace ((1 * 2 + 0) / 1) with 2 by field.
  assert (exp 1 < exp 2) by (apply exp_increasing; lra). pose proof (exp_pos 1).
  apply Rlt_not_le. apply Rmult_lt_reg_r with (exp 1 + (exp 2 + 0)); [lra|].
  field_simplify; lra.
Qed.
