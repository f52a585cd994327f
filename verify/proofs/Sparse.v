(** §4.1, the kernel side: sparse Gaussian processes, whose inducing variables the paper compares
    prefixes with. Training inputs are numbered below N, inducing inputs below M;

        Q = K_NM K_M⁻¹ K_MN,   D = Λ + σ²I,   C = Q + D,   Q_M = K_M + K_MN D⁻¹ K_NM.

    Matrices are compared entry by entry within their sizes. *)

From Inducer Require Export Vectors.

Notation "A ·[ n ] B" := (product n A B) (at level 40, left associativity).

Definition identity : Mat := fun i j => if Nat.eqb i j then 1 else 0.
Definition inverse (n : nat) (A Ai : Mat) := forall i j, (i < n)%nat ->
  (Ai ·[n] A) i j = identity i j /\ (A ·[n] Ai) i j = identity i j.

Lemma product_assoc m n A B C : (A ·[n] B) ·[m] C = A ·[n] (B ·[m] C).
Proof.
  apply functional_extensionality. intros i. apply functional_extensionality. intros j.
  unfold product. transitivity (Σ b < m, Σ a < n, A i a * B a b * C b j).
  - apply sum_ext. intros b _. rewrite sum_scale_r. reflexivity.
  - rewrite sum_swap. apply sum_ext. intros a _. rewrite <- sum_scale.
    apply sum_ext. intros. ring.
Qed.

Lemma product_ext n A B B' i j :
  (forall a, (a < n)%nat -> B a j = B' a j) -> (A ·[n] B) i j = (A ·[n] B') i j.
Proof. intros E. apply sum_below_ext. intros a Ha. rewrite E; auto. Qed.

Lemma product_add_r n A B C i j :
  (A ·[n] add_mat B C) i j = (A ·[n] B) i j + (A ·[n] C) i j.
Proof. unfold product, add_mat. rewrite <- sum_plus. apply sum_ext. intros. ring. Qed.

Lemma product_add_l n A B C i j :
  (add_mat A B ·[n] C) i j = (A ·[n] C) i j + (B ·[n] C) i j.
Proof. unfold product, add_mat. rewrite <- sum_plus. apply sum_ext. intros. ring. Qed.

Lemma sum_delta n i (t : nat -> R) : (i < n)%nat -> Σ a < n, identity i a * t a = t i.
Proof.
  intros Hi. induction n as [|n IH]; [lia|].
  rewrite seq_S, sum_app. cbn [sum_over Nat.add]. unfold identity at 2.
  destruct (Nat.eqb_spec i n) as [->|Hne].
  - rewrite sum_zero; [ring|]. intros a Ha. apply in_seq in Ha. unfold identity.
    destruct (Nat.eqb_spec n a); [lia | ring].
  - rewrite IH by lia. ring.
Qed.

(** A⁻¹ (A B) = B and A (A⁻¹ B) = B, in rows below n. *)
Lemma cancel n A Ai B i j : inverse n A Ai -> (i < n)%nat -> (Ai ·[n] (A ·[n] B)) i j = B i j.
Proof.
  intros H Hi. rewrite <- product_assoc. unfold product at 1.
  rewrite (sum_ext _ _ (fun a => identity i a * B a j)); [apply (sum_delta (fun a => B a j) Hi)|].
  intros a _. destruct (H i a Hi) as [E _]. rewrite E. reflexivity.
Qed.

Lemma inverse_sym n A Ai : inverse n A Ai -> inverse n Ai A.
Proof. intros H i j Hi. destruct (H i j Hi). split; assumption. Qed.

(** §4.1.  A sparse Gaussian process whose inducing inputs are the training inputs is the exact
    one: Q = K K⁻¹ K = K, for test points K_*N likewise, and Λ = diag(K − Q) = 0. *)
Theorem gp_exact_limit N (K Ki K_test : Mat) i j : inverse N K Ki -> (j < N)%nat ->
  ((i < N)%nat -> (K ·[N] (Ki ·[N] K)) i j = K i j /\ K i i - (K ·[N] (Ki ·[N] K)) i i = 0) /\
  (K_test ·[N] (Ki ·[N] K)) i j = K_test i j.
Proof.
  intros H Hj. assert (E : forall A i c, (c < N)%nat -> (A ·[N] (Ki ·[N] K)) i c = A i c).
  { intros A r c Hc. unfold product at 1.
    rewrite (@sum_below_ext N _ (fun a => identity c a * A r a));
      [apply (sum_delta (fun a => A r a) Hc)|].
    intros a Ha. destruct (H a c Ha) as [E _]. rewrite E. unfold identity.
    rewrite Nat.eqb_sym. ring. }
  split; [|apply E, Hj]. intros Hi. rewrite !E by assumption. split; [reflexivity | ring].
Qed.

Section Sparse.
Variables (N M : nat) (K_M K_Mi K_MN K_NM D Di C Ci Q_M Q_Mi : Mat).
(** Throughout, let the four matrices have the inverses named with an i: K_Mi = K_M⁻¹. *)
Hypotheses (HK : inverse M K_M K_Mi) (HD : inverse N D Di) (HC : inverse N C Ci).
Hypothesis HQ : inverse M Q_M Q_Mi.
Hypothesis C_is : C = add_mat (K_NM ·[M] (K_Mi ·[M] K_MN)) D.
Hypothesis Q_M_is : Q_M = add_mat K_M (K_MN ·[N] (Di ·[N] K_NM)).

(** Q_M⁻¹ K_MN D⁻¹ (C Z) = K_M⁻¹ K_MN Z: both predictive equations follow from it. *)
Lemma push_through Z i j : (i < M)%nat ->
  (Q_Mi ·[M] (K_MN ·[N] (Di ·[N] (C ·[N] Z)))) i j = (K_Mi ·[M] (K_MN ·[N] Z)) i j.
Proof.
  intros Hi. set (W := K_Mi ·[M] (K_MN ·[N] Z)).
  rewrite <- (cancel (A := Q_M) (Ai := Q_Mi) W j HQ Hi). apply product_ext. intros a Ha.
  rewrite Q_M_is, product_add_l. unfold W at 1.
  rewrite (cancel (K_MN ·[N] Z) j (inverse_sym HK) Ha), !product_assoc.
  rewrite <- product_add_r. apply product_ext. intros b Hb. rewrite C_is.
  transitivity ((Di ·[N] add_mat (K_NM ·[M] W) (D ·[N] Z)) b j).
  - apply product_ext. intros c _. unfold add_mat at 2. rewrite product_add_l. f_equal.
    rewrite !product_assoc. reflexivity.
  - rewrite product_add_r, (cancel Z j HD Hb). unfold add_mat. ring.
Qed.

(** §4.1.  The predictive mean of 2005, which solves with M × M matrices only, is that of the
    process of covariance Q + Λ + σ²I:
    k_*ᵀ Q_M⁻¹ K_MN (Λ + σ²I)⁻¹ y = k_*ᵀ K_M⁻¹ K_MN (Q + Λ + σ²I)⁻¹ y. *)
Theorem gp_pseudo_inputs_mean (k_test y : Mat) i j :
  (k_test ·[M] (Q_Mi ·[M] (K_MN ·[N] (Di ·[N] y)))) i j =
  (k_test ·[M] (K_Mi ·[M] (K_MN ·[N] (Ci ·[N] y)))) i j.
Proof.
  apply product_ext. intros a Ha. rewrite <- (push_through (Ci ·[N] y) j Ha).
  do 3 (apply product_ext; intros ? ?). symmetry.
  apply cancel; [apply inverse_sym, HC | assumption].
Qed.

(** §4.1.  And its variance: the part of k_** that the data explain,
    k_*ᵀ (K_M⁻¹ − Q_M⁻¹) k_* = k_*ᵀ K_M⁻¹ K_MN (Q + Λ + σ²I)⁻¹ K_NM K_M⁻¹ k_*. *)
Theorem gp_pseudo_inputs_variance (k_test k_test' : Mat) i j :
  (k_test ·[M] (K_Mi ·[M] k_test')) i j - (k_test ·[M] (Q_Mi ·[M] k_test')) i j =
  (k_test ·[M] (K_Mi ·[M] (K_MN ·[N] (Ci ·[N] (K_NM ·[M] (K_Mi ·[M] k_test')))))) i j.
Proof.
  rewrite <- gp_pseudo_inputs_mean.
  set (W := K_Mi ·[M] k_test').
  assert (E : forall a, (a < M)%nat -> (K_Mi ·[M] k_test') a j =
    add_mat (Q_Mi ·[M] k_test') (Q_Mi ·[M] (K_MN ·[N] (Di ·[N] (K_NM ·[M] W)))) a j).
  { intros a Ha. fold W. unfold add_mat. rewrite <- product_add_r.
    rewrite <- (cancel (A := Q_M) (Ai := Q_Mi) W j HQ Ha). apply product_ext. intros b Hb.
    rewrite Q_M_is, product_add_l. unfold add_mat. unfold W at 1.
    rewrite (cancel k_test' j (inverse_sym HK) Hb), !product_assoc. reflexivity. }
  rewrite (product_ext k_test W _ i j E), product_add_r. ring.
Qed.
End Sparse.

(** * What fails *)

(** False: K_M in the place of Q_M gives the same mean. *)
Theorem refuted_without_the_data_in_Q_M :
  ~ forall N M (K_M K_Mi K_MN K_NM D Di C Ci y : Mat) i j, inverse M K_M K_Mi ->
    inverse N D Di -> inverse N C Ci -> C = add_mat (K_NM ·[M] (K_Mi ·[M] K_MN)) D ->
    (K_Mi ·[M] (K_MN ·[N] (Di ·[N] y))) i j = (K_Mi ·[M] (K_MN ·[N] (Ci ·[N] y))) i j.
Proof.
  intros E.
  pose proof (E 1%nat 1%nat identity identity identity identity identity identity
    (add_mat (identity ·[1] (identity ·[1] identity)) identity) (scale_mat (/ 2) identity) identity
    0%nat 0%nat) as H. clear E.
  assert (I : inverse 1 identity identity).
  { intros i j Hi. replace i with 0%nat by lia. unfold product, identity. simpl.
    destruct j; simpl; split; ring. }
  specialize (H I I).
  assert (HC : inverse 1 (add_mat (identity ·[1] (identity ·[1] identity)) identity)
    (scale_mat (/ 2) identity)).
  { intros i j Hi. replace i with 0%nat by lia. unfold product, add_mat, scale_mat, identity. simpl.
    unfold product. simpl. destruct j; simpl; split; field. }
  specialize (H HC eq_refl). revert H. unfold product, scale_mat, identity. simpl.
  unfold product. simpl. intros H. field_simplify in H. lra.
Qed.
