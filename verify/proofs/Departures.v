(** Where the authors' published code departs from the paper, each with the size of the difference.
    Two more stand beside their equations: [authors_shared_bias] in Extension.v and
    [authors_lora_bias] in Lora.v. *)

From Inducer Require Export Lora.

(** λ whose denominator counts the padding's keys as well. *)
Definition λ_unmasked (κ : Kernel) (q Pk : Vec) (S padding : list Point) : R :=
  λ κ q Pk (S ++ padding).

(** Eq. 7.  The published RoBERTa code lets padding keys into λ's denominator: its λ is ours times
    (κ + Σ_visible)/(κ + Σ_visible + Σ_padding), which is below 1 and depends on the padding. *)
Theorem authors_padding κ q Pk S padding : positive κ -> S <> [] -> padding <> [] ->
  let factor := (κ q Pk + mass κ q S) / (κ q Pk + mass κ q S + mass κ q padding) in
  λ_unmasked κ q Pk S padding = λ κ q Pk S * factor /\ factor < 1.
Proof.
  intros Hκ HS HP factor. pose proof (mass_pos q Hκ HS). pose proof (mass_pos q Hκ HP).
  pose proof (Hκ q Pk). split.
  - unfold λ_unmasked, λ, factor. rewrite mass_app. field. lra.
  - unfold factor. apply Rmult_lt_reg_r with (κ q Pk + mass κ q S + mass κ q padding); [lra|].
    unfold Rdiv. rewrite Rmult_assoc, Rinv_l by lra. lra.
Qed.

(** §6.2.  A term added to the attention probabilities instead of the output, as in the published
    code without value extension, reaches the output multiplied by V:
    (softmax + λ u) V = f + λ u V. *)
Theorem authors_without_extension p m (q : Vec) (K V : nat -> Vec) (l : R) (u : Vec) :
  (fun a => Σ j < m, (softmax (seq 0 m) (fun j => score p q (K j)) j + l * u j) * V j a) =
  attention p q (points K V (seq 0 m)) ⊕ l ⊙ mul m u V.
Proof.
  coordinates. unfold attention, points, mul. rewrite sum_map, <- sum_scale, <- sum_plus.
  apply sum_ext. intros j _. unfold softmax. rewrite sum_map. unfold key, coefficient. simpl. ring.
Qed.

(** Eqs. 1, 11.  The published code has tanh in MLP_k and MLP_v and ReLU in adapters: the other
    activation moves the output by (φ z − ψ z) W_2, z = x W_1 + b_1, for any two. *)
Theorem authors_activations d r (φ ψ : R -> R) W1 b1 W2 b2 x :
  bottleneck d r φ W1 b1 W2 b2 x ⊖ bottleneck d r ψ W1 b1 W2 b2 x =
  mul r (fun b => let z := mul d x W1 b + b1 b in φ z - ψ z) W2.
Proof.
  unfold bottleneck. coordinates. unfold mul at 1 3 5.
  rewrite (sum_ext _ (fun a => (_ - _) * W2 a c)
    (fun a => φ (mul d x W1 a + b1 a) * W2 a c + (-1) * (ψ (mul d x W1 a + b1 a) * W2 a c))) by
    (intros; simpl; ring).
  rewrite sum_plus, sum_scale. ring.
Qed.

(** Clipping to norm C: x times min(1, C/‖x‖). *)
Definition clip_factor (p : nat) (C : R) (x : Vec) : R := Rmin 1 (C / sqrt (norm2 p x)).

(** The published NLG code's sum of the gradients g_0, g_1, … of n micro-batches, clipped after
    each; its factor at micro-batch j; and Π_{k ≤ j < n} of the factors. *)
Fixpoint clipped_each_time (p : nat) (C : R) (g : nat -> Vec) (n : nat) : Vec :=
  match n with
  | O => zero
  | Datatypes.S j =>
      let x := clipped_each_time p C g j ⊕ g j in clip_factor p C x ⊙ x
  end.
Definition factor (p : nat) (C : R) (g : nat -> Vec) (j : nat) : R :=
  clip_factor p C (clipped_each_time p C g j ⊕ g j).
Definition factors (p : nat) (C : R) (g : nat -> Vec) (k n : nat) : R :=
  fold_right (fun j c => c * factor p C g j) 1 (seq k (n - k)).

Lemma factors_next p C g k n : (k <= n)%nat ->
  factors p C g k (1 + n) = factors p C g k n * factor p C g n.
Proof.
  intros Hk. unfold factors. replace (1 + n - k)%nat with (Datatypes.S (n - k)) by lia.
  rewrite seq_S, fold_right_app. replace (k + (n - k))%nat with n by lia.
  cbn [fold_right]. rewrite Rmult_1_l. generalize (factor p C g n) as c. intros c.
  induction (seq k (n - k)) as [|j s IH]; simpl; [ring | rewrite IH; ring].
Qed.

(** §6.  The published NLG code clips after every micro-batch: gradient k arrives multiplied by
    every later factor, Σ_k (Π_{j ≥ k} c_j) g_k, and so counts less the earlier it came.  (One
    clipping a step would be c Σ_k g_k.) *)
Theorem authors_clipping p C g n :
  clipped_each_time p C g n = ∑ k < n, factors p C g k n ⊙ g k.
Proof.
  induction n as [|n IH]; [reflexivity|].
  transitivity (factor p C g n ⊙ (clipped_each_time p C g n ⊕ g n)); [reflexivity|].
  rewrite IH. coordinates. rewrite seq_S, sum_app. cbn [sum_over Nat.add].
  rewrite (sum_below_ext (n := n) (fun k => factors p C g k (Datatypes.S n) * g k c)
    (fun k => factor p C g n * (factors p C g k n * g k c))).
  - rewrite sum_scale. change (Datatypes.S n) with (1 + n)%nat. rewrite factors_next by lia.
    unfold factors. rewrite Nat.sub_diag. simpl. ring.
  - intros k Hk. change (Datatypes.S n) with (1 + n)%nat. rewrite factors_next by lia. ring.
Qed.

(** * What fails *)

(** False: λ with the padding in its denominator is λ. *)
Theorem refuted_lambda_ignores_padding :
  ~ forall κ q Pk S padding, positive κ -> S <> [] -> padding <> [] ->
    λ_unmasked κ q Pk S padding = λ κ q Pk S.
Proof.
  intros E. specialize (E example_kernel zero zero [(zero, zero)] [(zero, zero)]
    example_kernel_positive ltac:(discriminate) ltac:(discriminate)). revert E.
  unfold λ_unmasked, λ, mass, example_kernel, zero, key. simpl. intros E.
  field_simplify in E. lra.
Qed.

(** False: a term added to the probabilities reaches the output as it is. *)
Theorem refuted_term_in_the_probabilities :
  ~ forall p m (q : Vec) (K V : nat -> Vec) (l : R) (u : Vec),
    (fun a => Σ j < m, (softmax (seq 0 m) (fun j => score p q (K j)) j + l * u j) * V j a) =
    attention p q (points K V (seq 0 m)) ⊕ l ⊙ u.
Proof.
  intros E. specialize (E 0%nat 0%nat zero (fun _ => zero) (fun _ => zero) 1 (all 1)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold attention, add, scale, all. simpl. lra.
Qed.

(** False: the activation does not matter. *)
Theorem refuted_any_activation :
  ~ forall d r (φ ψ : R -> R) W1 b1 W2 b2 x,
    bottleneck d r φ W1 b1 W2 b2 x = bottleneck d r ψ W1 b1 W2 b2 x.
Proof.
  intros E. specialize (E 1%nat 1%nat (fun z => z) (fun _ => 0) (fun _ _ => 1) zero (fun _ _ => 1)
    zero (all 1)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold bottleneck, mul, add, zero, all. simpl. lra.
Qed.

(** False: clipping after every micro-batch is clipping once. *)
Theorem refuted_clipping_each_time_is_once :
  ~ forall p C g n, let total := ∑ k < n, g k in
    clipped_each_time p C g n = clip_factor p C total ⊙ total.
Proof.
  intros E. set (g := fun k => if Nat.eqb k 0 then all 4 else all (- / 2)).
  specialize (E 1%nat 1 g 2%nat).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold clipped_each_time, clip_factor, norm2, dot, sum_vec, scale, add, zero, g, all. simpl.
  replace ((0 + 4) * (0 + 4) + 0) with (4 * 4) by ring. rewrite sqrt_square by lra.
  rewrite (Rmin_right 1 (1 / 4)) by lra.
  replace (1 / 4 * (0 + 4) + - / 2) with (/ 2) by field.
  replace (/ 2 * / 2 + 0) with (/ 2 * / 2) by ring. rewrite sqrt_square by lra.
  rewrite (Rmin_left 1 (1 / / 2)) by (unfold Rdiv; rewrite Rinv_inv; lra).
  replace (4 + (- / 2 + 0)) with (7 / 2) by field.
  replace (7 / 2 * (7 / 2) + 0) with (7 / 2 * (7 / 2)) by ring. rewrite sqrt_square by lra.
  rewrite (Rmin_right 1 (1 / (7 / 2))) by lra. lra.
Qed.
