(** Derivatives: of λ, of the log-sum-exp, of attention, and of f̃ in all that it is made from.

        ∂λ/∂s = λ(1 − λ),   ∂λ/∂LSE = −λ(1 − λ),   ∂LSE/∂(score_j) = softmax_j
        ∂f̃/∂MLP_v = λ I,   ∂f̃/∂s = λ(1 − λ) MLP_v,   ∂f̃/∂LSE = −λ(1 − λ) MLP_v,   ∂f̃/∂f = I

    [is_derive f x l] says that f has the derivative l at x (Coquelicot). *)

From Coquelicot Require Import Coquelicot.
From Inducer Require Export Lora.

(** Coordinate i of x replaced by z; the entries of I. *)
Definition put (x : Vec) (i : nat) (z : R) : Vec := fun j => if Nat.eqb j i then z else x j.
Definition δ (a c : nat) : R := if Nat.eqb a c then 1 else 0.

(** f̃ and Gating as functions of s, LSE, f and u = MLP_v(q). *)
Definition f_tilde (s lse : R) (f u : Vec) : Vec := f ⊕ σ (s - lse) ⊙ u.
Definition f_gating (s lse : R) (f u : Vec) : Vec := (1 - σ (s - lse)) ⊙ f ⊕ σ (s - lse) ⊙ u.

(** The logistic function's derivative, under any differentiable argument. *)
Lemma σ_derive (g : R -> R) x dg :
  is_derive g x dg -> is_derive (fun x => σ (g x)) x (σ (g x) * (1 - σ (g x)) * dg).
Proof.
  intros Hg. rewrite Rmult_comm. apply (is_derive_comp σ g); [|exact Hg].
  pose proof (exp_pos (- g x)) as He. unfold σ. auto_derive; [lra|]. field. lra.
Qed.

Lemma affine_derive (g : R -> R) x dg c m :
  is_derive g x dg -> is_derive (fun x => c + g x * m) x (dg * m).
Proof.
  intros Hg. auto_derive.
  - exists dg. exact Hg.
  - replace (Derive (fun x => g x) x) with dg by (symmetry; apply is_derive_unique, Hg). ring.
Qed.

(** Eq. 7.  ∂λ/∂s = λ(1 − λ), with λ = σ(s − LSE). *)
Theorem lambda_by_score s lse :
  is_derive (fun s => σ (s - lse)) s (σ (s - lse) * (1 - σ (s - lse))).
Proof.
  rewrite <- (Rmult_1_r (_ * _)). apply (σ_derive (g := fun s => s - lse)).
  auto_derive; trivial; ring.
Qed.

(** Eq. 7.  ∂λ/∂LSE = −λ(1 − λ). *)
Theorem lambda_by_lse s lse :
  is_derive (fun lse => σ (s - lse)) lse (- (σ (s - lse) * (1 - σ (s - lse)))).
Proof.
  replace (- _) with (σ (s - lse) * (1 - σ (s - lse)) * -1) by ring.
  apply (σ_derive (g := fun lse => s - lse)). auto_derive; trivial; ring.
Qed.

Lemma put_sum n t i z (g : nat -> R -> R) : (i < n)%nat ->
  Σ j < n, g j (put t i z j) = g i z + ((Σ j < n, g j (t j)) - g i (t i)).
Proof.
  intros Hi. induction n as [|n IH]; [lia|].
  rewrite seq_S, !sum_app. cbn [sum_over Nat.add].
  destruct (Nat.eq_dec i n) as [->|Hne].
  - unfold put at 2. rewrite Nat.eqb_refl.
    rewrite (@sum_below_ext n _ (fun j => g j (t j))); [ring|].
    intros j Hj. unfold put. destruct (Nat.eqb_spec j n); [lia | reflexivity].
  - rewrite IH by lia. unfold put. destruct (Nat.eqb_spec n i); [lia | ring].
Qed.

(** Eq. 7.  ∂LSE/∂(score_i) = softmax_i, for any number of keys. *)
Theorem lse_by_score n (t : Vec) i : (i < n)%nat ->
  is_derive (fun z => ln (Σ j < n, exp (put t i z j))) (t i) (softmax (seq 0 n) t i).
Proof.
  intros Hi. set (rest := (Σ j < n, exp (t j)) - exp (t i)).
  assert (Hrest : 0 <= rest).
  { pose proof (@sum_member _ (seq 0 n) (fun j => exp (t j)) i
      (fun j _ => Rlt_le _ _ (exp_pos (t j))) ltac:(apply in_seq; lia)). unfold rest. lra. }
  pose proof (exp_pos (t i)) as He.
  apply is_derive_ext with (fun z => ln (exp z + rest)).
  { intros z. f_equal. symmetry. apply (put_sum t z (fun _ => exp) Hi). }
  auto_derive; [lra|]. unfold softmax.
  replace (Σ x < n, exp (t x)) with (exp (t i) + rest) by (unfold rest; ring).
  field. lra.
Qed.

(** Eq. 3.  Attention's own derivative: ∂f/∂(score_i) = softmax_i (v_i − f). *)
Theorem attention_by_score n (t : Vec) (V : nat -> Vec) i a : (i < n)%nat ->
  let f := fun t => Σ j < n, softmax (seq 0 n) t j * V j a in
  is_derive (fun z => f (put t i z)) (t i) (softmax (seq 0 n) t i * (V i a - f t)).
Proof.
  intros Hi f.
  set (rest := (Σ j < n, exp (t j)) - exp (t i)).
  set (top := (Σ j < n, exp (t j) * V j a) - exp (t i) * V i a).
  assert (Hrest : 0 <= rest).
  { pose proof (@sum_member _ (seq 0 n) (fun j => exp (t j)) i
      (fun j _ => Rlt_le _ _ (exp_pos (t j))) ltac:(apply in_seq; lia)). unfold rest. lra. }
  pose proof (exp_pos (t i)) as He.
  assert (Hf : forall u, f u = (Σ j < n, exp (u j) * V j a) / Σ j < n, exp (u j)).
  { intros u. unfold f, softmax. rewrite <- sum_div. apply sum_ext. intros. unfold Rdiv. ring. }
  apply is_derive_ext with (fun z => (exp z * V i a + top) / (exp z + rest)).
  { intros z. rewrite Hf. f_equal.
    - symmetry. apply (put_sum t z (fun j y => exp y * V j a) Hi).
    - f_equal. symmetry. apply (put_sum t z (fun _ => exp) Hi). }
  auto_derive; [lra|]. rewrite Hf. unfold softmax.
  replace (Σ x < n, exp (t x)) with (exp (t i) + rest) by (unfold rest; ring).
  replace (Σ x < n, exp (t x) * V x a) with (exp (t i) * V i a + top) by (unfold top; ring).
  field. lra.
Qed.

(** Eq. 8.  ∂f̃/∂MLP_v = λ I. *)
Theorem eq08_by_value s lse f u a c :
  is_derive (fun z => f_tilde s lse f (put u c z) a) (u c) (σ (s - lse) * δ a c).
Proof.
  unfold f_tilde, add, scale, put, δ. destruct (Nat.eqb a c); auto_derive; trivial; ring.
Qed.

(** Eq. 8.  ∂f̃/∂s = λ(1 − λ) MLP_v and ∂f̃/∂LSE = −λ(1 − λ) MLP_v. *)
Theorem eq08_by_score_and_lse s lse f u a :
  let l := σ (s - lse) in
  is_derive (fun s => f_tilde s lse f u a) s (l * (1 - l) * u a) /\
  is_derive (fun lse => f_tilde s lse f u a) lse (- (l * (1 - l)) * u a).
Proof.
  intros l. unfold f_tilde, add, scale. split.
  - apply (affine_derive (f a) (u a) (lambda_by_score s lse)).
  - apply (affine_derive (f a) (u a) (lambda_by_lse s lse)).
Qed.

(** Eq. 8.  ∂f̃/∂f = I: the inducer passes the frozen estimate's gradient on whole … *)
Theorem inducer_passes_f s lse f u a c :
  is_derive (fun z => f_tilde s lse (put f c z) u a) (f c) (δ a c).
Proof.
  unfold f_tilde, add, scale, put, δ. destruct (Nat.eqb a c); auto_derive; trivial; ring.
Qed.

(** §6.2.  … and Gating passes (1 − λ) I of it. *)
Theorem gating_dampens_f s lse f u a c :
  is_derive (fun z => f_gating s lse (put f c z) u a) (f c) ((1 - σ (s - lse)) * δ a c).
Proof.
  unfold f_gating, add, scale, put, δ. destruct (Nat.eqb a c); auto_derive; trivial; ring.
Qed.

(** Eqs. 5, 7.  ∂λ/∂P_k = λ(1 − λ) q/√p: how MLP_k is trained. *)
Theorem lambda_by_key p q Pk S a : (a < p)%nat -> S <> [] ->
  let l := λ (κ_exp p) q Pk S in
  is_derive (fun z => λ (κ_exp p) q (put Pk a z) S) (Pk a) (l * (1 - l) * (q a / sqrt (INR p))).
Proof.
  intros Ha HS l. set (L := LSE p q S). set (r := sqrt (INR p)).
  set (rest := dot p q Pk - q a * Pk a).
  apply is_derive_ext with (fun z => σ ((q a * z + rest) / r - L)).
  { intros z. destruct (eq07_lambda_lse p q (put Pk a z) HS) as [E _]. rewrite E. do 2 f_equal.
    unfold score. fold r. f_equal. symmetry.
    apply (put_sum Pk z (fun j y => q j * y) Ha). }
  assert (El : l = σ ((q a * Pk a + rest) / r - L)).
  { destruct (eq07_lambda_lse p q Pk HS) as [E _]. unfold l. rewrite E. do 2 f_equal.
    unfold score. fold r. f_equal. unfold rest. ring. }
  rewrite El. apply (σ_derive (g := fun z => (q a * z + rest) / r - L)).
  auto_derive; trivial. unfold Rdiv. ring.
Qed.

(** * What fails *)

Lemma third : σ (- ln 2 - 0) = 1 / 3.
Proof.
  unfold σ. replace (- (- ln 2 - 0)) with (ln 2) by ring. rewrite exp_ln by lra. field.
Qed.

(** False: λ² in place of λ(1 − λ). *)
Theorem refuted_lambda_squared :
  ~ forall s lse, is_derive (fun s => σ (s - lse)) s (σ (s - lse) * σ (s - lse)).
Proof.
  intros E. specialize (E (- ln 2) 0). apply is_derive_unique in E.
  pose proof (lambda_by_score (- ln 2) 0) as T. apply is_derive_unique in T.
  rewrite E, third in T. lra.
Qed.

(** False: λ² in place of λ before MLP_v. *)
Theorem refuted_lambda_squared_by_value :
  ~ forall s lse f u a,
    is_derive (fun z => f_tilde s lse f (put u a z) a) (u a) (σ (s - lse) * σ (s - lse)).
Proof.
  intros E. specialize (E (- ln 2) 0 zero zero 0%nat). apply is_derive_unique in E.
  pose proof (eq08_by_value (- ln 2) 0 zero zero 0 0) as T. apply is_derive_unique in T.
  rewrite E, third in T. unfold δ in T. simpl in T. lra.
Qed.

(** False: Gating passes the frozen estimate's gradient on whole. *)
Theorem refuted_gating_passes_f :
  ~ forall s lse f u a, is_derive (fun z => f_gating s lse (put f a z) u a) (f a) 1.
Proof.
  intros E. specialize (E (- ln 2) 0 zero zero 0%nat). apply is_derive_unique in E.
  pose proof (gating_dampens_f (- ln 2) 0 zero zero 0 0) as T. apply is_derive_unique in T.
  rewrite E, third in T. unfold δ in T. simpl in T. lra.
Qed.
