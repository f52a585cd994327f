(** §4.1: the Nadaraya–Watson estimator

        f(q) = Σ_j κ(q, k_j) v_j / Σ_j κ(q, k_j)

    for any positive kernel κ, any number of support points (k_j, v_j), any dimensions. *)

From Inducer Require Export Vectors.

Definition Kernel := Vec -> Vec -> R.
Definition positive (κ : Kernel) := forall q k, 0 < κ q k.

(** A support point: a key k and its coefficient v.  A set of them is a list, so that one may
    stand in it twice. *)
Definition Point := (Vec * Vec)%type.
Definition key (s : Point) : Vec := fst s.
Definition coefficient (s : Point) : Vec := snd s.

(** Σ_j κ(q, k_j), the denominator, and f(q). *)
Definition mass (κ : Kernel) (q : Vec) (S : list Point) : R := Σ s ∈ S, κ q (key s).
Definition NW (κ : Kernel) (q : Vec) (S : list Point) : Vec :=
  fun a => (Σ s ∈ S, κ q (key s) * coefficient s a) / mass κ q S.

Lemma mass_pos κ q S : positive κ -> S <> [] -> 0 < mass κ q S.
Proof. intros Hκ HS. apply sum_pos; auto. Qed.

Lemma mass_nonneg κ q S : positive κ -> 0 <= mass κ q S.
Proof. intros Hκ. apply sum_nonneg. intros. left. apply Hκ. Qed.

Lemma mass_app κ q S S' : mass κ q (S ++ S') = mass κ q S + mass κ q S'.
Proof. apply sum_app. Qed.

(** The numerator is the denominator times f. *)
Lemma numerator κ q S a : positive κ -> S <> [] ->
  Σ s ∈ S, κ q (key s) * coefficient s a = mass κ q S * NW κ q S a.
Proof. intros Hκ HS. pose proof (mass_pos q Hκ HS). unfold NW. field. lra. Qed.

(** §4.1.  f is a convex combination of the coefficients: its weights κ(q,k_j) / Σ κ are positive
    and sum to 1. *)
Theorem nw_convex κ q S : positive κ -> S <> [] ->
  exists w : Point -> R,
    (forall s, 0 < w s) /\ (Σ s ∈ S, w s) = 1 /\
    NW κ q S = sum_vec S (fun s => w s ⊙ coefficient s).
Proof.
  intros Hκ HS. pose proof (mass_pos q Hκ HS) as Hm.
  exists (fun s => κ q (key s) / mass κ q S). split; [|split].
  - intros s. apply Rdiv_lt_0_compat; auto.
  - rewrite sum_div. unfold mass. apply Rinv_r. apply Rgt_not_eq, Hm.
  - coordinates. unfold NW. rewrite <- sum_div. apply sum_ext. intros. unfold Rdiv. ring.
Qed.

(** §4.1.  Equal values are reproduced: v_j = c for all j gives f = c. *)
Theorem nw_constant κ q S c : positive κ -> S <> [] ->
  (forall s, In s S -> coefficient s = c) -> NW κ q S = c.
Proof.
  intros Hκ HS Hc. pose proof (mass_pos q Hκ HS) as Hm.
  apply functional_extensionality. intros a. unfold NW.
  rewrite (sum_ext S _ (fun s => κ q (key s) * c a)).
  - rewrite sum_scale_r. fold (mass κ q S). field. lra.
  - intros s Hs. rewrite Hc; auto.
Qed.

(** §4.1.  The order of the support points is irrelevant. *)
Theorem nw_permutation κ q S S' : Permutation S S' -> NW κ q S = NW κ q S'.
Proof.
  intros HP. coordinates. unfold NW, mass.
  rewrite (sum_permutation _ HP), (sum_permutation (fun s => κ q (key s)) HP). reflexivity.
Qed.

(** §4.1.  Repeating every support point, r times each, changes nothing. *)
Theorem nw_repeat_all κ q S r : positive κ -> S <> [] -> (0 < r)%nat ->
  NW κ q (concat (repeat S r)) = NW κ q S.
Proof.
  intros Hκ HS Hr. pose proof (mass_pos q Hκ HS) as Hm.
  assert (Hrep : forall (t : Point -> R), Σ s ∈ concat (repeat S r), t s = INR r * Σ s ∈ S, t s).
  { intros t. clear Hr. induction r as [|r IH]; [simpl; lra|].
    cbn [repeat concat]. rewrite sum_app, IH, S_INR. lra. }
  coordinates. unfold NW, mass. rewrite !Hrep. fold (mass κ q S).
  apply lt_0_INR in Hr. field. lra.
Qed.

(** §4.1.  Repeating one support point doubles its weight: κ_j ↦ 2 κ_j. *)
Theorem nw_repeat_one κ q k v S :
  NW κ q ((k, v) :: (k, v) :: S) =
  fun a => (2 * κ q k * v a + Σ s ∈ S, κ q (key s) * coefficient s a) / (2 * κ q k + mass κ q S).
Proof. coordinates. unfold NW, mass, key, coefficient, Point. simpl. f_equal; ring. Qed.

(** §4.1.  Affine maps of the values pass through: f over v A + b is f A + b. *)
Theorem nw_affine κ q S p A b : positive κ -> S <> [] ->
  NW κ q (map (fun s => (key s, mul p (coefficient s) A ⊕ b)) S) = mul p (NW κ q S) A ⊕ b.
Proof.
  intros Hκ HS. pose proof (mass_pos q Hκ HS) as Hm.
  coordinates. unfold NW, mass. rewrite !sum_map. simpl. fold (mass κ q S).
  transitivity ((Σ s ∈ S, κ q (key s) * mul p (coefficient s) A c) / mass κ q S + b c).
  - rewrite (sum_ext S _ (fun s => κ q (key s) * mul p (coefficient s) A c + κ q (key s) * b c))
      by (intros; unfold add; ring).
    rewrite sum_plus, sum_scale_r. fold (mass κ q S). field. lra.
  - f_equal. unfold mul. rewrite <- sum_div.
    rewrite (sum_ext S _ (fun s => Σ a < p, κ q (key s) * coefficient s a / mass κ q S * A a c)).
    + rewrite sum_swap. apply sum_ext. intros a _.
      rewrite sum_scale_r, sum_div. reflexivity.
    + intros s _. unfold Rdiv. rewrite <- sum_scale, <- sum_scale_r.
      apply sum_ext. intros. ring.
Qed.

(** §4.1.  Every output coordinate lies between the least and the greatest visible value. *)
Theorem nw_hull κ q S a low high : positive κ -> S <> [] ->
  (forall s, In s S -> low <= coefficient s a <= high) -> low <= NW κ q S a <= high.
Proof.
  intros Hκ HS Hv. pose proof (mass_pos q Hκ HS) as Hm. unfold NW. split.
  - apply Rmult_le_reg_r with (mass κ q S); [exact Hm|].
    unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
    unfold mass. rewrite Rmult_comm, <- sum_scale_r. apply sum_le. intros s Hs.
    apply Rmult_le_compat_l; [left; apply Hκ | apply Hv, Hs].
  - apply Rmult_le_reg_r with (mass κ q S); [exact Hm|].
    unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
    unfold mass. rewrite (Rmult_comm high), <- sum_scale_r. apply sum_le. intros s Hs.
    apply Rmult_le_compat_l; [left; apply Hκ | apply Hv, Hs].
Qed.

(** * What fails *)

(** The kernel of the counterexamples, 1 + k_1². *)
Definition example_kernel : Kernel := fun _ k => 1 + k 0%nat * k 0%nat.

Lemma example_kernel_positive : positive example_kernel.
Proof.
  intros q k. pose proof (Rle_0_sqr (k 0%nat)). unfold Rsqr in *. unfold example_kernel. lra.
Qed.

Definition all (x : R) : Vec := fun _ => x.

(** False: equal values are reproduced when one weight is left out of the denominator. *)
Theorem refuted_constant_with_a_weight_left_out :
  ~ forall κ q (s : Point) S c, positive κ -> S <> [] ->
    (forall x, In x (s :: S) -> coefficient x = c) ->
    (fun a => (Σ x ∈ s :: S, κ q (key x) * coefficient x a) / mass κ q S) = c.
Proof.
  intros H.
  specialize (H example_kernel zero (zero, all 1) [(zero, all 1)] (all 1) example_kernel_positive).
  assert (HH := H ltac:(discriminate) ltac:(intros x [<-|[<-|[]]]; reflexivity)).
  apply (f_equal (fun x => x 0%nat)) in HH. revert HH.
  unfold mass, example_kernel, all, zero. simpl. intros HH. field_simplify in HH. lra.
Qed.

(** False: the keys alone may be permuted. *)
Theorem refuted_permuting_the_keys_alone :
  ~ forall κ q (k k' v v' : Vec), positive κ ->
    NW κ q [(k, v); (k', v')] = NW κ q [(k', v); (k, v')].
Proof.
  intros H. specialize (H example_kernel zero (all 0) (all 1) (all 0) (all 1)
    example_kernel_positive).
  apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold NW, mass, example_kernel, all. simpl. intros H. field_simplify in H. lra.
Qed.

(** False: a repeated point counts once. *)
Theorem refuted_repeated_point_counts_once :
  ~ forall κ q s S, positive κ -> NW κ q (s :: s :: S) = NW κ q (s :: S).
Proof.
  intros H. specialize (H example_kernel zero (zero, all 1) [(zero, zero)] example_kernel_positive).
  apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold NW, mass, example_kernel, all, zero. simpl. intros H. field_simplify in H. lra.
Qed.

(** False: the sum without its denominator stays between the values. *)
Theorem refuted_hull_without_normalising :
  ~ forall κ q S a low high, positive κ -> S <> [] ->
    (forall s, In s S -> low <= coefficient s a <= high) ->
    low <= Σ s ∈ S, κ q (key s) * coefficient s a <= high.
Proof.
  intros H.
  specialize (H example_kernel zero [(all 1, all 1)] 0%nat 1 1 example_kernel_positive
    ltac:(discriminate) ltac:(intros s [<-|[]]; unfold coefficient, all; simpl; lra)).
  revert H. unfold example_kernel, all. simpl. lra.
Qed.
