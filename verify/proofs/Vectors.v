(** The little that the other files need: finite sums, vectors, matrices.

    A vector is the function that gives its coordinates, a matrix the function that gives its
    entries; their sizes appear where a sum is taken.  [Σ j < n, t] is t_0 + … + t_{n-1}, and
    [Σ s ∈ S, t] runs over a list, repetitions counted.  Nothing here is about the paper. *)

From Coq Require Export Reals Lra Lia List Permutation FunctionalExtensionality PeanoNat.
Export ListNotations.
Open Scope R_scope.
#[global] Set Implicit Arguments.

(** * Sums *)

Fixpoint sum_over {A : Type} (S : list A) (t : A -> R) : R :=
  match S with
  | [] => 0
  | s :: S' => t s + sum_over S' t
  end.

Notation "'Σ' s ∈ S , t" := (sum_over S (fun s => t))
  (at level 41, s name, S at level 39, t at level 41, right associativity).
Notation "'Σ' j < n , t" := (sum_over (seq 0 n) (fun j => t))
  (at level 41, j name, n at level 39, t at level 41, right associativity).

Section Sums.
Context {A : Type}.
Implicit Types (S : list A) (t u : A -> R).

Lemma sum_ext S t u : (forall s, In s S -> t s = u s) -> Σ s ∈ S, t s = Σ s ∈ S, u s.
Proof.
  induction S as [|s S IH]; simpl; intros H; [reflexivity|].
  rewrite (H s), IH; auto.
Qed.

Lemma sum_app S S' t : Σ s ∈ S ++ S', t s = (Σ s ∈ S, t s) + Σ s ∈ S', t s.
Proof. induction S as [|s S IH]; simpl; [lra | rewrite IH; lra]. Qed.

Lemma sum_plus S t u : Σ s ∈ S, (t s + u s) = (Σ s ∈ S, t s) + Σ s ∈ S, u s.
Proof. induction S as [|s S IH]; simpl; [lra | rewrite IH; lra]. Qed.

Lemma sum_scale S c t : Σ s ∈ S, c * t s = c * Σ s ∈ S, t s.
Proof. induction S as [|s S IH]; simpl; [lra | rewrite IH; lra]. Qed.

Lemma sum_scale_r S c t : Σ s ∈ S, t s * c = (Σ s ∈ S, t s) * c.
Proof. induction S as [|s S IH]; simpl; [lra | rewrite IH; lra]. Qed.

Lemma sum_div S c t : Σ s ∈ S, t s / c = (Σ s ∈ S, t s) / c.
Proof. apply sum_scale_r. Qed.

Lemma sum_const S c : Σ _s ∈ S, c = INR (length S) * c.
Proof.
  induction S as [|s S IH]; simpl length; [simpl; lra|].
  rewrite S_INR. simpl. rewrite IH. lra.
Qed.

Lemma sum_zero S t : (forall s, In s S -> t s = 0) -> Σ s ∈ S, t s = 0.
Proof. intros H. rewrite (sum_ext _ _ (fun _ => 0) H), sum_const. lra. Qed.

Lemma sum_le S t u : (forall s, In s S -> t s <= u s) -> Σ s ∈ S, t s <= Σ s ∈ S, u s.
Proof.
  induction S as [|s S IH]; simpl; intros H; [lra|].
  apply Rplus_le_compat; auto.
Qed.

Lemma sum_nonneg S t : (forall s, In s S -> 0 <= t s) -> 0 <= Σ s ∈ S, t s.
Proof. intros H. rewrite <- (sum_zero S (fun _ => 0) (fun _ _ => eq_refl)). apply sum_le, H. Qed.

Lemma sum_pos S t : S <> [] -> (forall s, In s S -> 0 < t s) -> 0 < Σ s ∈ S, t s.
Proof.
  destruct S as [|s S]; [congruence | simpl; intros _ H].
  assert (0 <= Σ x ∈ S, t x) by (apply sum_nonneg; intros x Hx; left; auto).
  specialize (H s (or_introl eq_refl)). lra.
Qed.

(** A sum of terms that are not negative is at least each of them. *)
Lemma sum_member S t s : (forall x, In x S -> 0 <= t x) -> In s S -> t s <= Σ x ∈ S, t x.
Proof.
  induction S as [|x S IH]; simpl; intros H; [tauto|]. intros [<-|Hs].
  - assert (0 <= Σ y ∈ S, t y) by (apply sum_nonneg; auto). lra.
  - specialize (IH (fun y Hy => H y (or_intror Hy)) Hs). specialize (H x (or_introl eq_refl)). lra.
Qed.

Lemma sum_abs S t : Rabs (Σ s ∈ S, t s) <= Σ s ∈ S, Rabs (t s).
Proof.
  induction S as [|s S IH]; simpl; [rewrite Rabs_R0; lra|].
  eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

Lemma sum_permutation S S' t : Permutation S S' -> Σ s ∈ S, t s = Σ s ∈ S', t s.
Proof. induction 1; simpl; lra. Qed.
End Sums.

Lemma sum_map {A B : Type} (g : A -> B) (S : list A) (t : B -> R) :
  Σ s ∈ map g S, t s = Σ s ∈ S, t (g s).
Proof. induction S as [|s S IH]; simpl; [reflexivity | rewrite IH; reflexivity]. Qed.

Lemma sum_swap {A B : Type} (S : list A) (S' : list B) (t : A -> B -> R) :
  (Σ a ∈ S, Σ b ∈ S', t a b) = Σ b ∈ S', Σ a ∈ S, t a b.
Proof.
  induction S as [|a S IH]; simpl.
  - symmetry. apply sum_zero. reflexivity.
  - rewrite IH, <- sum_plus. reflexivity.
Qed.

Lemma sum_below_ext (n : nat) (t u : nat -> R) :
  (forall j, (j < n)%nat -> t j = u j) -> Σ j < n, t j = Σ j < n, u j.
Proof. intros H. apply sum_ext. intros j Hj. apply in_seq in Hj. apply H. lia. Qed.

Lemma sum_from (start n : nat) (t : nat -> R) :
  Σ j ∈ seq start n, t j = Σ j < n, t (start + j)%nat.
Proof.
  revert start t. induction n as [|n IH]; intros start t; simpl; [reflexivity|].
  rewrite IH, (IH 1%nat (fun j => t (start + j)%nat)), Nat.add_0_r. f_equal.
  apply sum_ext. intros j _. f_equal. lia.
Qed.

(** H blocks of p terms are one sum of H p terms. *)
Lemma sum_blocks (H p : nat) (t : nat -> R) :
  Σ c < (H * p)%nat, t c = Σ h < H, Σ a < p, t (h * p + a)%nat.
Proof.
  induction H as [|H IH]; [reflexivity|].
  rewrite Nat.mul_succ_l, seq_app, sum_app, IH, (sum_from (0 + H * p)), seq_S, sum_app.
  cbn [sum_over Nat.add]. rewrite Rplus_0_r. reflexivity.
Qed.

(** * Vectors and matrices *)

Definition Vec := nat -> R.
Definition Mat := nat -> nat -> R.

Definition zero : Vec := fun _ => 0.
Definition add (x y : Vec) : Vec := fun a => x a + y a.
Definition sub (x y : Vec) : Vec := fun a => x a - y a.
Definition scale (c : R) (x : Vec) : Vec := fun a => c * x a.
Definition sum_vec {A : Type} (S : list A) (x : A -> Vec) : Vec := fun a => Σ s ∈ S, x s a.

Notation "x ⊕ y" := (add x y) (at level 50, left associativity).
Notation "x ⊖ y" := (sub x y) (at level 50, left associativity).
Notation "c ⊙ x" := (scale c x) (at level 40, left associativity).
Notation "'∑' h < n , x" := (sum_vec (seq 0 n) (fun h => x))
  (at level 41, h name, n at level 39, x at level 41, right associativity).

(** The inner product of R^p, the square of its norm, and x A for a row vector x ∈ R^p. *)
Definition dot (p : nat) (x y : Vec) : R := Σ a < p, x a * y a.
Definition norm2 (p : nat) (x : Vec) : R := dot p x x.
Definition mul (p : nat) (x : Vec) (A : Mat) : Vec := fun c => Σ a < p, x a * A a c.

Definition transpose (A : Mat) : Mat := fun i j => A j i.
Definition add_mat (A B : Mat) : Mat := fun i j => A i j + B i j.
Definition scale_mat (c : R) (A : Mat) : Mat := fun i j => c * A i j.
(** A B, n being the columns of A and the rows of B. *)
Definition product (n : nat) (A B : Mat) : Mat := fun i j => Σ b < n, A i b * B b j.

(** Rows h p, …, h p + p - 1 of a matrix; the vectors x_0, x_1, … ∈ R^p one behind the other. *)
Definition row_block (p h : nat) (A : Mat) : Mat := fun a c => A (h * p + a)%nat c.
Definition concat_heads (p : nat) (x : nat -> Vec) : Vec := fun c => x (c / p)%nat (c mod p)%nat.

Ltac coordinates :=
  apply functional_extensionality; let c := fresh "c" in intro c;
  unfold add, sub, scale, zero, sum_vec.

Lemma dot_sym p x y : dot p x y = dot p y x.
Proof. apply sum_ext. intros; lra. Qed.

Lemma dot_add p x y z : dot p (x ⊕ y) z = dot p x z + dot p y z.
Proof.
  unfold dot, add. rewrite <- sum_plus. apply sum_ext. intros; lra.
Qed.

Lemma dot_scale p c x y : dot p (c ⊙ x) y = c * dot p x y.
Proof.
  unfold dot, scale. rewrite <- sum_scale. apply sum_ext. intros; lra.
Qed.

Lemma norm2_nonneg p x : 0 <= norm2 p x.
Proof. apply sum_nonneg. intros a _. apply Rle_0_sqr. Qed.

(** ‖x − y‖² = ‖x‖² − 2⟨x, y⟩ + ‖y‖². *)
Lemma norm2_sub p x y : norm2 p (x ⊖ y) = norm2 p x - 2 * dot p x y + norm2 p y.
Proof.
  unfold norm2, dot, sub.
  replace (_ - _ + _) with
    ((Σ a < p, x a * x a) + ((Σ a < p, (-2) * (x a * y a)) + Σ a < p, y a * y a))
    by (rewrite sum_scale; lra).
  rewrite <- !sum_plus. apply sum_ext. intros; lra.
Qed.

Lemma mul_add p x y A : mul p (x ⊕ y) A = mul p x A ⊕ mul p y A.
Proof.
  coordinates. unfold mul. rewrite <- sum_plus. apply sum_ext. intros; lra.
Qed.

Lemma mul_scale p c x A : mul p (c ⊙ x) A = c ⊙ mul p x A.
Proof.
  coordinates. unfold mul. rewrite <- sum_scale. apply sum_ext. intros; lra.
Qed.

Lemma mul_ext p x y A : (forall a, (a < p)%nat -> x a = y a) -> mul p x A = mul p y A.
Proof. intros H. coordinates. apply sum_below_ext. intros a Ha. rewrite H; auto. Qed.

(** (x A) B = x (A B). *)
Lemma mul_assoc p r x A B :
  mul r (mul p x A) B = mul p x (product r A B).
Proof.
  coordinates. unfold mul, product.
  transitivity (Σ b < r, Σ a < p, x a * A a b * B b c).
  - apply sum_ext. intros b _. rewrite sum_scale_r. reflexivity.
  - rewrite sum_swap. apply sum_ext. intros a _.
    rewrite <- sum_scale. apply sum_ext. intros; lra.
Qed.

(** Place h p + a of a concatenation is coordinate a of vector h. *)
Lemma concat_heads_place p x h a : (a < p)%nat -> concat_heads p x (h * p + a)%nat = x h a.
Proof.
  intros Ha. unfold concat_heads.
  rewrite Nat.div_add_l, Nat.div_small, Nat.add_0_r by lia.
  rewrite Nat.add_comm, Nat.mod_add, Nat.mod_small by lia. reflexivity.
Qed.

(** Fractions compared crosswise; 1 < e; exp rises. *)
Lemma cross_multiply a b c d : b <> 0 -> d <> 0 -> a / b = c / d -> a * d = c * b.
Proof.
  intros Hb Hd H. replace (a * d) with (a / b * (b * d)) by (field; exact Hb).
  rewrite H. field. exact Hd.
Qed.

Lemma one_lt_e : 1 < exp 1.
Proof. rewrite <- exp_0 at 1. apply exp_increasing. lra. Qed.

Lemma exp_le x y : x <= y -> exp x <= exp y.
Proof. intros [H| ->]; [left; apply exp_increasing, H | right; reflexivity]. Qed.
