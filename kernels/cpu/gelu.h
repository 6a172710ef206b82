/* gelu.h: GELU and its slope, on vectors.
 *
 * GELU is x (1 - Q(x)) for x >= 0 and x Q(-x) below, with Q the upper tail of the normal distribution: max(x, 0) - |x| Q(|x|). Its slope is
 * 1 - G(x) for x >= 0 and G(-x) below, with G(u) = Q(u) + u Q'(u). Q and G need no more than a float's precision beside 1.
 *
 * With 16 lanes a polynomial's coefficients for 16 pieces of 0 <= u <= 6 are one vector each, and picking a lane's is one
 * instruction; beyond 6 both are nothing beside 1. Narrower vectors go by vf_normal_tail. */
#ifndef BFT_KERNELS_CPU_GELU_H
#define BFT_KERNELS_CPU_GELU_H

#include "kernels/cpu/vector.h"

#if BFT_LANES == 16

/* By scripts/gelu-table.py: off by 3.4e-8 and 5.4e-8 at most. */
/* clang-format off */
/* polynomials */
static const float gelu_tail[6][16] __attribute__((aligned(64))) = {
    {0x1.b3d97cp-2f, 0x1.25c5e4p-2f, 0x1.64dd90p-3f, 0x1.83cab6p-4f,
     0x1.76d04ep-5f, 0x1.40ccccp-6f, 0x1.e49ce8p-8f, 0x1.42297ap-9f,
     0x1.7832eep-11f, 0x1.812f2ep-13f, 0x1.5956bcp-15f, 0x1.0ed154p-17f,
     0x1.733360p-20f, 0x1.bc513ep-23f, 0x1.d028b8p-26f, 0x1.a6f800p-29f},
    {-0x1.2d0c8cp-3f, -0x1.058e50p-3f, -0x1.8add92p-4f, -0x1.02f58ap-4f,
     -0x1.2719d6p-5f, -0x1.242bcep-6f, -0x1.f6a518p-8f, -0x1.77a63cp-9f,
     -0x1.e7d26cp-11f, -0x1.13316ap-12f, -0x1.0dc180p-14f, -0x1.cb798ep-17f,
     -0x1.53fa36p-19f, -0x1.b51d7cp-22f, -0x1.e847cap-25f, -0x1.d9e1dap-28f},
    {0x1.52abaep-8f, 0x1.b95d90p-7f, 0x1.15a2d6p-6f, 0x1.fdd336p-7f,
     0x1.757db0p-7f, 0x1.c3f5dcp-8f, 0x1.cb74fcp-9f, 0x1.8c31a4p-10f,
     0x1.238a62p-11f, 0x1.6f9b18p-13f, 0x1.8e3be6p-15f, 0x1.7366f2p-17f,
     0x1.2aa564p-19f, 0x1.9e9476p-22f, 0x1.f13c48p-25f, 0x1.01cf8ep-27f},
    {0x1.b3b160p-9f, 0x1.0c323ep-9f, 0x1.1eebcap-12f, -0x1.18b344p-10f,
     -0x1.98ee5ep-10f, -0x1.64835ep-10f, -0x1.d1b66ep-11f, -0x1.e6b7bap-12f,
     -0x1.a2ed2cp-13f, -0x1.2da070p-14f, -0x1.6ec802p-16f, -0x1.7afaaap-18f,
     -0x1.4e2beep-20f, -0x1.f88038p-23f, -0x1.46c7c0p-25f, -0x1.6bea7cp-28f},
    {-0x1.754ba6p-13f, -0x1.b8b83ep-12f, -0x1.b72050p-12f, -0x1.e7e906p-13f,
     -0x1.6a6756p-16f, 0x1.a36b38p-14f, 0x1.f80594p-14f, 0x1.6c8c48p-14f,
     0x1.890054p-15f, 0x1.510020p-16f, 0x1.d9830ep-18f, 0x1.1503eap-19f,
     0x1.10a2bep-21f, 0x1.c67546p-24f, 0x1.424a34p-26f, 0x1.865370p-29f},
    {-0x1.19cc3cp-14f, -0x1.a75224p-16f, 0x1.8b839ap-16f, 0x1.7b4344p-15f,
     0x1.28b856p-15f, 0x1.b6d200p-17f, -0x1.b38f12p-19f, -0x1.1cf40ap-17f,
     -0x1.d10e42p-18f, -0x1.ffb6dep-19f, -0x1.ae9e20p-20f, -0x1.229efap-21f,
     -0x1.4233bep-23f, -0x1.298b0ep-25f, -0x1.cde99cp-28f, -0x1.2f4402p-30f},
};
static const float gelu_falling[6][16] __attribute__((aligned(64))) = {
    {0x1.68965ap-2f, 0x1.866ca6p-4f, -0x1.116ecep-4f, -0x1.034856p-3f,
     -0x1.dc9200p-4f, -0x1.41890ap-4f, -0x1.5bd286p-5f, -0x1.37e6a6p-6f,
     -0x1.d7492cp-8f, -0x1.2eb7b6p-9f, -0x1.4c788ep-11f, -0x1.395266p-13f,
     -0x1.fc0446p-16f, -0x1.62ef24p-18f, -0x1.ac019ep-21f, -0x1.bdde5ep-24f},
    {-0x1.27c1d4p-2f, -0x1.b85a9ap-3f, -0x1.baae68p-4f, -0x1.1f4868p-6f,
     0x1.f449cep-6f, 0x1.49435ep-5f, 0x1.ef482ep-6f, 0x1.1584b0p-6f,
     0x1.f19682p-8f, 0x1.6fc666p-9f, 0x1.c75836p-11f, 0x1.dca338p-13f,
     0x1.a863f0p-15f, 0x1.42c452p-17f, 0x1.a4a0e4p-20f, 0x1.d6b30ep-23f},
    {0x1.4faf44p-6f, 0x1.9671a6p-5f, 0x1.b142b2p-5f, 0x1.224438p-5f,
     0x1.ae6c44p-7f, -0x1.cad8a6p-10f, -0x1.bdfd66p-8f, -0x1.834fb0p-8f,
     -0x1.c105c8p-9f, -0x1.8f6dbap-10f, -0x1.1e60f8p-11f, -0x1.52ed74p-13f,
     -0x1.4f8fd0p-15f, -0x1.184ffep-17f, -0x1.8d6ddcp-20f, -0x1.e029eep-23f},
    {0x1.a7ebcap-7f, 0x1.71d40ep-8f, -0x1.989d2ep-9f, -0x1.ee60bep-8f,
     -0x1.b0f044p-8f, -0x1.a4d450p-9f, -0x1.afa188p-12f, 0x1.8a6934p-11f,
     0x1.9cd774p-11f, 0x1.ebb2eep-12f, 0x1.ad7028p-13f, 0x1.27b98ep-14f,
     0x1.4ba56ap-16f, 0x1.343994p-18f, 0x1.dff6f4p-21f, 0x1.3b59eap-23f},
    {-0x1.146cb0p-10f, -0x1.2b5eaep-9f, -0x1.d6bdcep-10f, -0x1.87d430p-12f,
     0x1.66d130p-11f, 0x1.c1abbap-11f, 0x1.03c048p-11f, 0x1.ea6b0ap-14f,
     -0x1.f4d654p-15f, -0x1.51a026p-14f, -0x1.9ac392p-15f, -0x1.5dfd6ap-16f,
     -0x1.cd0336p-18f, -0x1.e8d162p-20f, -0x1.aa373cp-22f, -0x1.35940ap-24f},
    {-0x1.98e076p-12f, -0x1.2fae0ep-14f, 0x1.f2f57ep-13f, 0x1.2a3310p-12f,
     0x1.006954p-13f, -0x1.45e23ap-15f, -0x1.7053d8p-14f, -0x1.de0d18p-15f,
     -0x1.0bc68ep-16f, 0x1.0d2374p-18f, 0x1.cdd05ap-18f, 0x1.156980p-18f,
     0x1.c2074ep-20f, 0x1.15d036p-21f, 0x1.118e70p-23f, 0x1.b82300p-26f},
};
/* end of polynomials */
/* clang-format on */

/* table[.][piece]; lanes choose by the low four bits of theirs. */
VECTOR_INLINE vf pick(const float *table, vi piece) {
#if defined(__AVX512F__)
    return (vf)_mm512_permutexvar_ps((__m512i)piece, (__m512)vf_load(table));
#else
    vf v;
    for (int i = 0; i < LANES; i++) {
        v[i] = table[piece[i] & 15];
    }
    return v;
#endif
}

VECTOR_INLINE vf of_piece(const float table[6][16], vi piece, vf d) {
    vf p = pick(table[5], piece);
    p = p * d + pick(table[4], piece);
    p = p * d + pick(table[3], piece);
    p = p * d + pick(table[2], piece);
    p = p * d + pick(table[1], piece);
    return p * d + pick(table[0], piece);
}

/* u's place among the pieces: which one, and in *d how far from its middle, in widths of one. The piece's number is in the low bits of
 * the sum with 1.5 * 2^23, which rounds. */
VECTOR_INLINE vi find_piece(vf u, vf *d) {
    vf at = vf_min(u * (16.0f / 6) - 0.5f, vf_set(15.49f));
    vf shifted = at + 0x1.8p23f;
    *d = at - (shifted - 0x1.8p23f);
    return (vi)shifted;
}

VECTOR_INLINE vf vf_gelu(vf x) {
    vf d, u = vf_abs(x);
    vi piece = find_piece(u, &d);
    return vf_max(x, (vf){0}) - u * of_piece(gelu_tail, piece, d);
}

VECTOR_INLINE vf vf_gelu_with_slope(vf x, vf *slope) {
    vf d, u = vf_abs(x);
    vi piece = find_piece(u, &d);
    vf falling = of_piece(gelu_falling, piece, d);
    *slope = vf_select(x < (vf){0}, falling, 1.0f - falling);
    return vf_max(x, (vf){0}) - u * of_piece(gelu_tail, piece, d);
}

#else

VECTOR_INLINE vf vf_gelu_with_slope(vf x, vf *slope) {
    const vf zero = {0};
    vf bell, tail = vf_normal_tail(vf_abs(x), &bell);
    *slope = vf_select(x < zero, tail, 1.0f - tail) + x * bell * 0.398942280f;
    return vf_max(x, zero) - vf_abs(x) * tail;
}

VECTOR_INLINE vf vf_gelu(vf x) {
    vf bell, tail = vf_normal_tail(vf_abs(x), &bell);
    return vf_max(x, (vf){0}) - vf_abs(x) * tail;
}

#endif

#endif
