#include "textflag.h"

// X1 and X2 are the state of message A: a, b, e and f, and c, d, g and h, the first the highest. X3 and X4 are those of message B. X5 to X8 and X9 to X12
// are the last sixteen words of the messages' schedules. X13 has the order of bytes in words, X15 the constants of four steps, X0 what a step adds, and X14
// is for anything. On the stack is the state that a block began with.

// LOAD reads four words of each message.
#define LOAD(offset, A, B) \
	MOVOU  offset(SI), A  \
	PSHUFB X13, A         \
	MOVOU  offset(DI), B  \
	PSHUFB X13, B

// STEPS does four steps of both messages, whose words are in A and B.
#define STEPS(constants, A, B) \
	MOVOU       constants(R9), X15 \
	MOVOU       X15, X0            \
	PADDD       A, X0              \
	SHA256RNDS2 X0, X1, X2         \
	PSHUFD      $0x0e, X0, X0      \
	SHA256RNDS2 X0, X2, X1         \
	MOVOU       X15, X0            \
	PADDD       B, X0              \
	SHA256RNDS2 X0, X3, X4         \
	PSHUFD      $0x0e, X0, X0      \
	SHA256RNDS2 X0, X4, X3

// BEGIN begins with words of the schedule, of which old are those sixteen before them and next the four after old.
#define BEGIN(next, old) \
	SHA256MSG1 next, old

// END ends with them: last are the four words before them, and before the four before last.
#define END(before, last, words) \
	MOVOU      last, X14        \
	PALIGNR    $4, before, X14  \
	PADDD      X14, words       \
	SHA256MSG2 last, words

// func blocks(stateA, stateB *state, dataA, dataB *byte, count int)
TEXT ·blocks(SB), NOSPLIT, $64-40
	MOVQ  stateA+0(FP), R10
	MOVQ  stateB+8(FP), R11
	MOVQ  dataA+16(FP), SI
	MOVQ  dataB+24(FP), DI
	MOVQ  count+32(FP), CX
	LEAQ  constants<>(SB), R9
	MOVOU order<>(SB), X13
	MOVOU 0(R10), X1
	MOVOU 16(R10), X2
	MOVOU 0(R11), X3
	MOVOU 16(R11), X4

block:
	MOVOU X1, 0(SP)
	MOVOU X2, 16(SP)
	MOVOU X3, 32(SP)
	MOVOU X4, 48(SP)

	LOAD(0, X5, X9)
	STEPS(0, X5, X9)
	LOAD(16, X6, X10)
	STEPS(16, X6, X10)
	BEGIN(X6, X5)
	BEGIN(X10, X9)
	LOAD(32, X7, X11)
	STEPS(32, X7, X11)
	BEGIN(X7, X6)
	BEGIN(X11, X10)
	LOAD(48, X8, X12)
	STEPS(48, X8, X12)
	END(X7, X8, X5)
	END(X11, X12, X9)
	BEGIN(X8, X7)
	BEGIN(X12, X11)
	STEPS(64, X5, X9)
	END(X8, X5, X6)
	END(X12, X9, X10)
	BEGIN(X5, X8)
	BEGIN(X9, X12)
	STEPS(80, X6, X10)
	END(X5, X6, X7)
	END(X9, X10, X11)
	BEGIN(X6, X5)
	BEGIN(X10, X9)
	STEPS(96, X7, X11)
	END(X6, X7, X8)
	END(X10, X11, X12)
	BEGIN(X7, X6)
	BEGIN(X11, X10)
	STEPS(112, X8, X12)
	END(X7, X8, X5)
	END(X11, X12, X9)
	BEGIN(X8, X7)
	BEGIN(X12, X11)
	STEPS(128, X5, X9)
	END(X8, X5, X6)
	END(X12, X9, X10)
	BEGIN(X5, X8)
	BEGIN(X9, X12)
	STEPS(144, X6, X10)
	END(X5, X6, X7)
	END(X9, X10, X11)
	BEGIN(X6, X5)
	BEGIN(X10, X9)
	STEPS(160, X7, X11)
	END(X6, X7, X8)
	END(X10, X11, X12)
	BEGIN(X7, X6)
	BEGIN(X11, X10)
	STEPS(176, X8, X12)
	END(X7, X8, X5)
	END(X11, X12, X9)
	BEGIN(X8, X7)
	BEGIN(X12, X11)
	STEPS(192, X5, X9)
	END(X8, X5, X6)
	END(X12, X9, X10)
	BEGIN(X5, X8)
	BEGIN(X9, X12)
	STEPS(208, X6, X10)
	END(X5, X6, X7)
	END(X9, X10, X11)
	STEPS(224, X7, X11)
	END(X6, X7, X8)
	END(X10, X11, X12)
	STEPS(240, X8, X12)

	MOVOU 0(SP), X14
	PADDD X14, X1
	MOVOU 16(SP), X14
	PADDD X14, X2
	MOVOU 32(SP), X14
	PADDD X14, X3
	MOVOU 48(SP), X14
	PADDD X14, X4
	ADDQ  $64, SI
	ADDQ  $64, DI
	DECQ  CX
	JNZ   block

	MOVOU X1, 0(R10)
	MOVOU X2, 16(R10)
	MOVOU X3, 0(R11)
	MOVOU X4, 16(R11)
	RET

// The order of bytes: words are big-endian.
DATA order<>+0(SB)/8, $0x0405060700010203
DATA order<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL order<>(SB), RODATA|NOPTR, $16

// The constants of the steps: the first 32 bits of the fractions of the cube roots of the first 64 primes.
DATA constants<>+0(SB)/4, $0x428a2f98
DATA constants<>+4(SB)/4, $0x71374491
DATA constants<>+8(SB)/4, $0xb5c0fbcf
DATA constants<>+12(SB)/4, $0xe9b5dba5
DATA constants<>+16(SB)/4, $0x3956c25b
DATA constants<>+20(SB)/4, $0x59f111f1
DATA constants<>+24(SB)/4, $0x923f82a4
DATA constants<>+28(SB)/4, $0xab1c5ed5
DATA constants<>+32(SB)/4, $0xd807aa98
DATA constants<>+36(SB)/4, $0x12835b01
DATA constants<>+40(SB)/4, $0x243185be
DATA constants<>+44(SB)/4, $0x550c7dc3
DATA constants<>+48(SB)/4, $0x72be5d74
DATA constants<>+52(SB)/4, $0x80deb1fe
DATA constants<>+56(SB)/4, $0x9bdc06a7
DATA constants<>+60(SB)/4, $0xc19bf174
DATA constants<>+64(SB)/4, $0xe49b69c1
DATA constants<>+68(SB)/4, $0xefbe4786
DATA constants<>+72(SB)/4, $0x0fc19dc6
DATA constants<>+76(SB)/4, $0x240ca1cc
DATA constants<>+80(SB)/4, $0x2de92c6f
DATA constants<>+84(SB)/4, $0x4a7484aa
DATA constants<>+88(SB)/4, $0x5cb0a9dc
DATA constants<>+92(SB)/4, $0x76f988da
DATA constants<>+96(SB)/4, $0x983e5152
DATA constants<>+100(SB)/4, $0xa831c66d
DATA constants<>+104(SB)/4, $0xb00327c8
DATA constants<>+108(SB)/4, $0xbf597fc7
DATA constants<>+112(SB)/4, $0xc6e00bf3
DATA constants<>+116(SB)/4, $0xd5a79147
DATA constants<>+120(SB)/4, $0x06ca6351
DATA constants<>+124(SB)/4, $0x14292967
DATA constants<>+128(SB)/4, $0x27b70a85
DATA constants<>+132(SB)/4, $0x2e1b2138
DATA constants<>+136(SB)/4, $0x4d2c6dfc
DATA constants<>+140(SB)/4, $0x53380d13
DATA constants<>+144(SB)/4, $0x650a7354
DATA constants<>+148(SB)/4, $0x766a0abb
DATA constants<>+152(SB)/4, $0x81c2c92e
DATA constants<>+156(SB)/4, $0x92722c85
DATA constants<>+160(SB)/4, $0xa2bfe8a1
DATA constants<>+164(SB)/4, $0xa81a664b
DATA constants<>+168(SB)/4, $0xc24b8b70
DATA constants<>+172(SB)/4, $0xc76c51a3
DATA constants<>+176(SB)/4, $0xd192e819
DATA constants<>+180(SB)/4, $0xd6990624
DATA constants<>+184(SB)/4, $0xf40e3585
DATA constants<>+188(SB)/4, $0x106aa070
DATA constants<>+192(SB)/4, $0x19a4c116
DATA constants<>+196(SB)/4, $0x1e376c08
DATA constants<>+200(SB)/4, $0x2748774c
DATA constants<>+204(SB)/4, $0x34b0bcb5
DATA constants<>+208(SB)/4, $0x391c0cb3
DATA constants<>+212(SB)/4, $0x4ed8aa4a
DATA constants<>+216(SB)/4, $0x5b9cca4f
DATA constants<>+220(SB)/4, $0x682e6ff3
DATA constants<>+224(SB)/4, $0x748f82ee
DATA constants<>+228(SB)/4, $0x78a5636f
DATA constants<>+232(SB)/4, $0x84c87814
DATA constants<>+236(SB)/4, $0x8cc70208
DATA constants<>+240(SB)/4, $0x90befffa
DATA constants<>+244(SB)/4, $0xa4506ceb
DATA constants<>+248(SB)/4, $0xbef9a3f7
DATA constants<>+252(SB)/4, $0xc67178f2
GLOBL constants<>(SB), RODATA|NOPTR, $256
