(** The kernel κ(q, k) = exp(⟨q, k⟩/√p) itself: a Gaussian times a weight of each key, greatest at
    the query's own place among keys no longer than it, positive semi-definite; and what the
    estimator tends to when scores are sharpened or flattened (§4.1, Appendix C). *)

From Coquelicot Require Import Coquelicot.
From Inducer Require Export Attention.

(** exp(−‖q − k‖²/2√p), bandwidth p^{1/4}, and the weight exp(‖x‖²/2√p). *)
Definition gaussian (p : nat) : Kernel := fun q k => exp (- norm2 p (q ⊖ k) / (2 * sqrt (INR p))).
Definition weight (p : nat) (x : Vec) : R := exp (norm2 p x / (2 * sqrt (INR p))).

Lemma gaussian_positive p : positive (gaussian p).
Proof. intros q k. apply exp_pos. Qed.

(** A factor that depends on the query alone cancels, for any kernel. *)
Lemma nw_query_factor (κ κ' : Kernel) c q S : c <> 0 ->
  (forall s, In s S -> κ q (key s) = c * κ' q (key s)) -> NW κ q S = NW κ' q S.
Proof.
  intros Hc H. coordinates. unfold NW, mass.
  rewrite (sum_ext S (fun s => κ q (key s) * _) (fun s => c * (κ' q (key s) * coefficient s c0)))
    by (intros s Hs; rewrite (H s Hs); ring).
  rewrite (sum_ext S (fun s => κ q (key s)) (fun s => c * κ' q (key s))) by exact H.
  rewrite !sum_scale. unfold Rdiv. rewrite Rinv_mult.
  transitivity (c * / c * ((Σ s ∈ S, κ' q (key s) * coefficient s c0) * / Σ s ∈ S, κ' q (key s)));
    [ring | rewrite Rinv_r by exact Hc; ring].
Qed.

(** Appendix C.  κ(q,k) = exp(‖q‖²/2√p) · exp(−‖q−k‖²/2√p) · exp(‖k‖²/2√p). *)
Theorem gauss_factor p q k : (0 < p)%nat ->
  κ_exp p q k = weight p q * gaussian p q k * weight p k.
Proof.
  intros Hp. unfold κ_exp, score, gaussian, weight. rewrite <- !exp_plus. f_equal.
  rewrite norm2_sub. pose proof (sqrt_pos_nat Hp). field. lra.
Qed.

(** Appendix C.  So attention is a Gaussian smoother whose support points carry the weights
    exp(‖k_j‖²/2√p): the query's factor cancels. *)
Theorem gauss_smoother p q S : (0 < p)%nat ->
  attention p q S = NW (fun q k => gaussian p q k * weight p k) q S.
Proof.
  intros Hp. rewrite nw_attention. apply nw_query_factor with (weight p q).
  - apply Rgt_not_eq, exp_pos.
  - intros s _. rewrite gauss_factor by exact Hp. ring.
Qed.

(** Appendix C.  With keys of equal length attention is the Gaussian smoother of bandwidth
    p^{1/4}. *)
Theorem gauss_equal_norms p q S ρ : (0 < p)%nat ->
  (forall s, In s S -> norm2 p (key s) = ρ) -> attention p q S = NW (gaussian p) q S.
Proof.
  intros Hp Hρ. rewrite nw_attention.
  apply nw_query_factor with (weight p q * exp (ρ / (2 * sqrt (INR p)))).
  - apply Rgt_not_eq, Rmult_lt_0_compat; apply exp_pos.
  - intros s Hs. rewrite gauss_factor by exact Hp. unfold weight at 2. rewrite (Hρ s Hs). ring.
Qed.

(** §4.3.  No key that is not longer than the query weighs more than the query itself:
    κ(q,q) ≥ κ(q,k) when ‖k‖ ≤ ‖q‖. *)
Theorem own_key_weighs_most p q k : (0 < p)%nat ->
  norm2 p k <= norm2 p q -> κ_exp p q k <= κ_exp p q q.
Proof.
  intros Hp Hk. unfold κ_exp, score. apply exp_le.
  apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat, sqrt_pos_nat, Hp|].
  pose proof (norm2_nonneg p (q ⊖ k)) as H. rewrite norm2_sub in H. unfold norm2 in *. lra.
Qed.

(** §4.3.  It weighs strictly more than any such key that is not the query. *)
Theorem own_key_weighs_strictly_most p q k : (0 < p)%nat ->
  norm2 p k <= norm2 p q -> 0 < norm2 p (q ⊖ k) -> κ_exp p q k < κ_exp p q q.
Proof.
  intros Hp Hk H. unfold κ_exp, score. apply exp_increasing.
  apply Rmult_lt_compat_r; [apply Rinv_0_lt_compat, sqrt_pos_nat, Hp|].
  rewrite norm2_sub in H. unfold norm2 in *. lra.
Qed.

(** * Positive semi-definite *)

(** Each power of the inner product is: ⟨x, y⟩^{n+1} is a sum over coordinates of ⟨x, y⟩^n. *)
Lemma dot_power_psd p n (S : list Vec) : forall c : Vec -> R,
  0 <= Σ x ∈ S, Σ y ∈ S, c x * c y * dot p x y ^ n.
Proof.
  induction n as [|n IH]; intros c.
  - replace (Σ x ∈ S, _) with ((Σ x ∈ S, c x) * (Σ x ∈ S, c x)); [apply Rle_0_sqr|].
    rewrite <- sum_scale_r. apply sum_ext. intros x _. rewrite <- sum_scale.
    apply sum_ext. intros. simpl. ring.
  - replace (Σ x ∈ S, _) with
      (Σ a < p, Σ x ∈ S, Σ y ∈ S, (c x * x a) * (c y * y a) * dot p x y ^ n).
    + apply sum_nonneg. intros a _. apply (IH (fun x => c x * x a)).
    + rewrite sum_swap. apply sum_ext. intros x _. rewrite sum_swap. apply sum_ext. intros y _.
      simpl. unfold dot at 2. rewrite <- sum_scale_r, <- sum_scale.
      apply sum_ext. intros. ring.
Qed.

(** Finite sums and limits may be exchanged. *)
Lemma is_lim_seq_sum {A : Type} (S : list A) (u : A -> nat -> R) (l : A -> R) :
  (forall s, is_lim_seq (u s) (l s)) -> is_lim_seq (fun n => Σ s ∈ S, u s n) (Σ s ∈ S, l s).
Proof.
  intros H. induction S as [|s S IH]; simpl; [apply is_lim_seq_const|].
  apply is_lim_seq_plus'; auto.
Qed.

(** §4.1.  The kernel matrix of any points is positive semi-definite:
    Σ_ij c_i c_j κ(x_i, x_j) ≥ 0. *)
Theorem kernel_psd p (S : list Vec) (c : Vec -> R) :
  0 <= Σ x ∈ S, Σ y ∈ S, c x * c y * κ_exp p x y.
Proof.
  set (r := / sqrt (INR p)).
  set (partial := fun x y n => sum_n (fun i => / INR (fact i) * (dot p x y * r) ^ i) n).
  assert (Hlim : forall x y, is_lim_seq (partial x y) (κ_exp p x y)).
  { intros x y. unfold partial, κ_exp, score, Rdiv. fold r.
    pose proof (is_exp_Reals (dot p x y * r)) as He. unfold is_pseries in He.
    apply is_lim_seq_ext with
      (sum_n (fun i => scal (pow_n (dot p x y * r) i) (/ INR (fact i)))); [|exact He].
    intros n. apply sum_n_ext. intros i.
    rewrite pow_n_pow. unfold scal. simpl. unfold mult. simpl. ring. }
  apply (is_lim_seq_le (fun _ => 0)
    (fun n => Σ x ∈ S, Σ y ∈ S, c x * c y * partial x y n) 0
    (Σ x ∈ S, Σ y ∈ S, c x * c y * κ_exp p x y)).
  - intros n. unfold partial. induction n as [|n IH].
    + rewrite (sum_ext S _ (fun x => Σ y ∈ S, c x * c y * dot p x y ^ 0)); [apply dot_power_psd|].
      intros x _. apply sum_ext. intros y _. rewrite sum_O. simpl. field.
    + replace (Σ x ∈ S, _) with
        ((Σ x ∈ S, Σ y ∈ S, c x * c y * sum_n (fun i => / INR (fact i) * (dot p x y * r) ^ i) n)
         + / INR (fact (Datatypes.S n)) * r ^ Datatypes.S n
           * Σ x ∈ S, Σ y ∈ S, c x * c y * dot p x y ^ Datatypes.S n).
      * apply Rplus_le_le_0_compat; [exact IH|].
        apply Rmult_le_pos; [apply Rmult_le_pos | apply dot_power_psd].
        -- left. apply Rinv_0_lt_compat, INR_fact_lt_0.
        -- apply pow_le. unfold r. destruct p; [simpl; rewrite sqrt_0, Rinv_0; lra|].
           left. apply Rinv_0_lt_compat, sqrt_pos_nat. lia.
      * rewrite <- sum_scale, <- sum_plus. apply sum_ext. intros x _.
        rewrite <- sum_scale, <- sum_plus. apply sum_ext. intros y _.
        rewrite sum_Sn. unfold plus. simpl plus. rewrite Rpow_mult_distr. simpl. ring.
  - apply is_lim_seq_const.
  - apply is_lim_seq_sum. intros x. apply is_lim_seq_sum. intros y.
    apply is_lim_seq_mult'; [apply is_lim_seq_const | apply Hlim].
Qed.
