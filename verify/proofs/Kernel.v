(** The kernel κ(q, k) = exp(⟨q, k⟩/√p) itself: a Gaussian times a weight of each key, greatest at
    the query's own place among keys no longer than it; and what the estimator tends to when scores
    are sharpened or flattened (§4.1, Appendix C). *)

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

(** * Scores times t *)

Definition sharpened (p : nat) (t : R) : Kernel := fun q k => exp (t * score p q k).

Lemma sharpened_positive p t : positive (sharpened p t).
Proof. intros q k. apply exp_pos. Qed.

(** §4.1.  As t → ∞ the estimate tends to the value at the greatest score:
    |f_t − v_*| ≤ Σ_j exp(−t gap_j) |v_j − v_*|, gap_j the distance of score j from the greatest. *)
Theorem nw_sharp_limit p q S star t a : In star S ->
  Rabs (NW (sharpened p t) q S a - coefficient star a) <=
  Σ s ∈ S, exp (- t * (score p q (key star) - score p q (key s)))
           * Rabs (coefficient s a - coefficient star a).
Proof.
  intros Hin. set (κ := sharpened p t).
  assert (Hκ : positive κ) by apply sharpened_positive.
  assert (HS : S <> []) by (intros ->; exact Hin).
  pose proof (mass_pos q Hκ HS) as Hm.
  assert (Hstar : κ q (key star) <= mass κ q S).
  { apply (@sum_member Point S (fun s => κ q (key s)) star); [intros; left; apply Hκ | exact Hin]. }
  replace (NW κ q S a - coefficient star a) with
    ((Σ s ∈ S, κ q (key s) * (coefficient s a - coefficient star a)) / mass κ q S).
  2:{ unfold NW.
      rewrite (sum_ext S _ (fun s => κ q (key s) * coefficient s a
                                     + - coefficient star a * κ q (key s))) by (intros; ring).
      rewrite sum_plus, sum_scale. fold (mass κ q S). field. lra. }
  unfold Rdiv. rewrite Rabs_mult, (Rabs_right (/ _)) by (left; apply Rinv_0_lt_compat, Hm).
  apply Rle_trans with
    ((Σ s ∈ S, κ q (key s) * Rabs (coefficient s a - coefficient star a)) * / κ q (key star)).
  - apply Rmult_le_compat.
    + apply Rabs_pos.
    + left. apply Rinv_0_lt_compat, Hm.
    + eapply Rle_trans; [apply sum_abs|]. apply sum_le. intros s _.
      rewrite Rabs_mult, (Rabs_right (κ q _)) by (left; apply Hκ). lra.
    + apply Rinv_le_contravar; [apply Hκ | exact Hstar].
  - rewrite <- sum_scale_r. right. apply sum_ext. intros s _. unfold κ, sharpened.
    replace (- t * (score p q (key star) - score p q (key s))) with
      (t * score p q (key s) + - (t * score p q (key star))) by ring.
    rewrite exp_plus, exp_Ropp. ring.
Qed.

(** §4.1.  As t → 0 it tends to the mean of the values: with |scores| ≤ B,
    |f_t − mean| ≤ (exp(2tB) − 1) max_j |v_j − mean|. *)
Theorem nw_flat_limit p q S t a B d : S <> [] -> 0 <= t ->
  let mean := (Σ s ∈ S, coefficient s a) / INR (length S) in
  (forall s, In s S -> Rabs (score p q (key s)) <= B) ->
  (forall s, In s S -> Rabs (coefficient s a - mean) <= d) ->
  Rabs (NW (sharpened p t) q S a - mean) <= (exp (2 * t * B) - 1) * d.
Proof.
  intros HS Ht mean HB Hd. set (κ := sharpened p t).
  assert (Hκ : positive κ) by apply sharpened_positive.
  pose proof (mass_pos q Hκ HS) as Hm. set (m := mass κ q S) in *.
  assert (Hn : 0 < INR (length S)) by (apply lt_0_INR; destruct S; [congruence | simpl; lia]).
  set (n := INR (length S)) in *.
  assert (Hw : forall s, In s S -> exp (- (t * B)) <= κ q (key s) <= exp (t * B)).
  { intros s Hs. specialize (HB s Hs).
    pose proof (Rle_abs (score p q (key s))). pose proof (Rle_abs (- score p q (key s))) as Hneg.
    rewrite Rabs_Ropp in Hneg. unfold κ, sharpened. split; apply exp_le; nra. }
  assert (Hlow : n * exp (- (t * B)) <= m).
  { unfold m, n, mass. rewrite <- (sum_const S (exp (- (t * B)))). apply sum_le. apply Hw. }
  assert (Hhigh : m <= n * exp (t * B)).
  { unfold m, n, mass. rewrite <- (sum_const S (exp (t * B))). apply sum_le. apply Hw. }
  set (e := exp (t * B)) in *. assert (He : 0 < e) by apply exp_pos.
  assert (Hinv : exp (- (t * B)) = / e) by apply exp_Ropp. rewrite Hinv in *.
  assert (He2 : exp (2 * t * B) = e * e) by (unfold e; rewrite <- exp_plus; f_equal; ring).
  rewrite He2.
  replace (NW κ q S a - mean) with
    (Σ s ∈ S, (κ q (key s) / m - / n) * (coefficient s a - mean)).
  2:{ rewrite (sum_ext S _ (fun s => κ q (key s) * coefficient s a / m
        + (- mean * (κ q (key s) / m) + (- / n * coefficient s a + mean / n)))) by
        (intros; unfold Rdiv; ring).
      rewrite !sum_plus, !sum_scale, !sum_div, sum_const. fold n.
      fold (mass κ q S). fold m. unfold NW. fold m. unfold mean. fold n. field. lra. }
  eapply Rle_trans; [apply sum_abs|].
  apply Rle_trans with (Σ _s ∈ S, (e * e - 1) / n * d).
  2:{ rewrite sum_const. fold n. right. field. lra. }
  apply sum_le. intros s Hs. rewrite Rabs_mult.
  apply Rmult_le_compat; [apply Rabs_pos | apply Rabs_pos | | apply Hd, Hs].
  destruct (Hw s Hs) as [Hl Hh].
  assert (Hie : 0 < / e) by (apply Rinv_0_lt_compat, He).
  assert (Hee : e * / e = 1) by (apply Rinv_r; lra).
  (* n κ/m lies between e⁻² and e², and e⁻² ≥ 2 − e². *)
  set (x := κ q (key s)) in *.
  replace (x / m - / n) with ((x * n - m) / (m * n)) by (field; lra).
  assert (Hmn : 0 < m * n) by nra.
  unfold Rdiv. rewrite Rabs_mult, (Rabs_right (/ (m * n))) by
    (left; apply Rinv_0_lt_compat, Hmn).
  apply Rmult_le_reg_r with (m * n); [exact Hmn|].
  rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
  replace ((e * e - 1) * / n * (m * n)) with ((e * e - 1) * m) by (field; lra).
  assert (H1 : x * n <= e * e * m).
  { apply Rle_trans with (e * n); [nra|].
    replace (e * n) with (e * e * (n * / e)) by (field; lra). nra. }
  assert (H2 : m <= e * e * (x * n)).
  { apply Rle_trans with (n * e); [exact Hhigh|].
    replace (n * e) with (e * e * (/ e * n)) by (field; lra).
    apply Rmult_le_compat_l; [nra|]. apply Rmult_le_compat_r; lra. }
  assert (Hm' : 0 < m) by exact Hm. apply Rabs_le. split; [|lra].
  set (E := e * e) in *. assert (HE : 0 < E) by (unfold E; nra).
  assert (Hsquare : (2 - E) * E <= 1) by (pose proof (Rle_0_sqr (E - 1)); unfold Rsqr in *; lra).
  assert ((2 - E) * m <= x * n); [|lra].
  apply Rmult_le_reg_r with E; [exact HE|].
  apply Rle_trans with (1 * m); [|lra].
  replace ((2 - E) * m * E) with ((2 - E) * E * m) by ring.
  apply Rmult_le_compat_r; lra.
Qed.

(** * What fails *)

(** False: the key's weight may be omitted. *)
Theorem refuted_without_the_weight_of_keys :
  ~ forall p q S, (0 < p)%nat -> S <> [] -> attention p q S = NW (gaussian p) q S.
Proof.
  intros H. specialize (H 1%nat zero [(zero, zero); (all 1, all 1)] ltac:(lia) ltac:(discriminate)).
  rewrite nw_attention in H. apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold NW, mass, κ_exp, score, gaussian, norm2, dot, sub, all, zero, key, coefficient. simpl.
  rewrite sqrt_1.
  replace ((0 * 0 + 0) / 1) with 0 by field. replace ((0 * 1 + 0) / 1) with 0 by field.
  replace (- ((0 - 0) * (0 - 0) + 0) / (2 * 1)) with 0 by field.
  replace (- ((0 - 1) * (0 - 1) + 0) / (2 * 1)) with (- / 2) by field.
  rewrite exp_0. intros H. pose proof (exp_pos (- / 2)).
  assert (exp (- / 2) < 1) by (rewrite <- exp_0 at 1; apply exp_increasing; lra).
  apply cross_multiply in H; lra.
Qed.

(** False: the query's own place weighs most whatever the length of the key. *)
Theorem refuted_own_key_against_longer_keys :
  ~ forall p q k, (0 < p)%nat -> κ_exp p q k <= κ_exp p q q.
Proof.
  intros H. specialize (H 1%nat (all 1) (all 2) ltac:(lia)). revert H.
  unfold κ_exp, score, dot, all. simpl. rewrite sqrt_1. apply Rlt_not_le, exp_increasing. lra.
Qed.

(** False: sharpened scores tend to the value at any point. *)
Theorem refuted_sharp_limit_at_another_point :
  ~ forall p q S star t a, In star S -> 0 <= t ->
    Rabs (NW (sharpened p t) q S a - coefficient star a) <=
    Σ s ∈ S, exp (- t * Rabs (score p q (key star) - score p q (key s)))
             * Rabs (coefficient s a - coefficient star a).
Proof.
  intros H. specialize (H 1%nat (all 1) [(zero, zero); (all 1, all 1)] (zero, zero) 1 0%nat
    ltac:(left; reflexivity) ltac:(lra)). revert H.
  unfold NW, mass, sharpened, score, dot, all, zero, key, coefficient. simpl. rewrite sqrt_1.
  replace ((1 * 0 + 0) / 1) with 0 by field. replace ((1 * 1 + 0) / 1) with 1 by field.
  rewrite !Rminus_0_r, !Rminus_0_l, !Rabs_R0, Rabs_Ropp, Rabs_R1, !Rmult_0_r, !Rmult_1_r.
  rewrite exp_0, exp_Ropp. assert (2 < exp 1) by (pose proof (exp_ineq1 1); lra).
  set (e := exp 1) in *.
  replace ((0 + (e + 0)) / (1 + (e + 0))) with (e / (1 + e)) by (f_equal; ring).
  rewrite Rabs_right by (apply Rle_ge, Rlt_le, Rdiv_lt_0_compat; lra).
  apply Rlt_not_le. rewrite Rplus_0_l, Rplus_0_r.
  apply Rmult_lt_reg_r with (e * (1 + e)); [nra|]. field_simplify; [nra | lra | lra].
Qed.
