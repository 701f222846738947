#include "textflag.h"

// Each register holds one word of eight lanes. Y0 to Y3 are the state a, b, c and d, Y4 to Y7 what it was before the block, Y16 to Y31 the words of the
// block. VPTERNLOGD computes the function of a round: its immediate is the table of truth, indexed by d, c and b.
#define STEP(function, a, b, c, d, word, constant, shift) \
	VMOVDQA      d, Y8                    \
	VPADDD.BCST  constant(R10), word, Y9  \
	VPTERNLOGD   $function, b, c, Y8      \
	VPADDD       Y9, a, a                 \
	VPADDD       Y8, a, a                 \
	VPROLD       $shift, a, a             \
	VPADDD       b, a, a

// TRANSPOSE loads eight words of each lane, and has register i hold word i of all.
#define TRANSPOSE(offset, W0, W1, W2, W3, W4, W5, W6, W7) \
	VMOVDQU     offset(AX)(R13*1), Y8   \
	VMOVDQU     offset(BX)(R13*1), Y9   \
	VMOVDQU     offset(CX)(R13*1), Y10  \
	VMOVDQU     offset(DX)(R13*1), Y11  \
	VMOVDQU     offset(SI)(R13*1), Y12  \
	VMOVDQU     offset(DI)(R13*1), Y13  \
	VMOVDQU     offset(R8)(R13*1), Y14  \
	VMOVDQU     offset(R9)(R13*1), Y15  \
	VPUNPCKLDQ  Y9, Y8, W0              \
	VPUNPCKHDQ  Y9, Y8, W1              \
	VPUNPCKLDQ  Y11, Y10, W2            \
	VPUNPCKHDQ  Y11, Y10, W3            \
	VPUNPCKLDQ  Y13, Y12, W4            \
	VPUNPCKHDQ  Y13, Y12, W5            \
	VPUNPCKLDQ  Y15, Y14, W6            \
	VPUNPCKHDQ  Y15, Y14, W7            \
	VPUNPCKLQDQ W2, W0, Y8              \
	VPUNPCKHQDQ W2, W0, Y9              \
	VPUNPCKLQDQ W3, W1, Y10             \
	VPUNPCKHQDQ W3, W1, Y11             \
	VPUNPCKLQDQ W6, W4, Y12             \
	VPUNPCKHQDQ W6, W4, Y13             \
	VPUNPCKLQDQ W7, W5, Y14             \
	VPUNPCKHQDQ W7, W5, Y15             \
	VSHUFI64X2  $0, Y12, Y8, W0         \
	VSHUFI64X2  $0, Y13, Y9, W1         \
	VSHUFI64X2  $0, Y14, Y10, W2        \
	VSHUFI64X2  $0, Y15, Y11, W3        \
	VSHUFI64X2  $3, Y12, Y8, W4         \
	VSHUFI64X2  $3, Y13, Y9, W5         \
	VSHUFI64X2  $3, Y14, Y10, W6        \
	VSHUFI64X2  $3, Y15, Y11, W7

// func blocks(state *[4][width]uint32, data *[width]*byte, count int)
TEXT ·blocks(SB), NOSPLIT, $0-24
	MOVQ state+0(FP), R12
	MOVQ data+8(FP), R10
	MOVQ count+16(FP), R11
	MOVQ 0(R10), AX
	MOVQ 8(R10), BX
	MOVQ 16(R10), CX
	MOVQ 24(R10), DX
	MOVQ 32(R10), SI
	MOVQ 40(R10), DI
	MOVQ 48(R10), R8
	MOVQ 56(R10), R9
	LEAQ constants<>(SB), R10
	XORQ R13, R13
	VMOVDQU 0(R12), Y0
	VMOVDQU 32(R12), Y1
	VMOVDQU 64(R12), Y2
	VMOVDQU 96(R12), Y3

block:
	VMOVDQA Y0, Y4
	VMOVDQA Y1, Y5
	VMOVDQA Y2, Y6
	VMOVDQA Y3, Y7
	TRANSPOSE(0, Y16, Y17, Y18, Y19, Y20, Y21, Y22, Y23)
	TRANSPOSE(32, Y24, Y25, Y26, Y27, Y28, Y29, Y30, Y31)

	STEP(0xd8, Y0, Y1, Y2, Y3, Y16, 0, 7)
	STEP(0xd8, Y3, Y0, Y1, Y2, Y17, 4, 12)
	STEP(0xd8, Y2, Y3, Y0, Y1, Y18, 8, 17)
	STEP(0xd8, Y1, Y2, Y3, Y0, Y19, 12, 22)
	STEP(0xd8, Y0, Y1, Y2, Y3, Y20, 16, 7)
	STEP(0xd8, Y3, Y0, Y1, Y2, Y21, 20, 12)
	STEP(0xd8, Y2, Y3, Y0, Y1, Y22, 24, 17)
	STEP(0xd8, Y1, Y2, Y3, Y0, Y23, 28, 22)
	STEP(0xd8, Y0, Y1, Y2, Y3, Y24, 32, 7)
	STEP(0xd8, Y3, Y0, Y1, Y2, Y25, 36, 12)
	STEP(0xd8, Y2, Y3, Y0, Y1, Y26, 40, 17)
	STEP(0xd8, Y1, Y2, Y3, Y0, Y27, 44, 22)
	STEP(0xd8, Y0, Y1, Y2, Y3, Y28, 48, 7)
	STEP(0xd8, Y3, Y0, Y1, Y2, Y29, 52, 12)
	STEP(0xd8, Y2, Y3, Y0, Y1, Y30, 56, 17)
	STEP(0xd8, Y1, Y2, Y3, Y0, Y31, 60, 22)

	STEP(0xac, Y0, Y1, Y2, Y3, Y17, 64, 5)
	STEP(0xac, Y3, Y0, Y1, Y2, Y22, 68, 9)
	STEP(0xac, Y2, Y3, Y0, Y1, Y27, 72, 14)
	STEP(0xac, Y1, Y2, Y3, Y0, Y16, 76, 20)
	STEP(0xac, Y0, Y1, Y2, Y3, Y21, 80, 5)
	STEP(0xac, Y3, Y0, Y1, Y2, Y26, 84, 9)
	STEP(0xac, Y2, Y3, Y0, Y1, Y31, 88, 14)
	STEP(0xac, Y1, Y2, Y3, Y0, Y20, 92, 20)
	STEP(0xac, Y0, Y1, Y2, Y3, Y25, 96, 5)
	STEP(0xac, Y3, Y0, Y1, Y2, Y30, 100, 9)
	STEP(0xac, Y2, Y3, Y0, Y1, Y19, 104, 14)
	STEP(0xac, Y1, Y2, Y3, Y0, Y24, 108, 20)
	STEP(0xac, Y0, Y1, Y2, Y3, Y29, 112, 5)
	STEP(0xac, Y3, Y0, Y1, Y2, Y18, 116, 9)
	STEP(0xac, Y2, Y3, Y0, Y1, Y23, 120, 14)
	STEP(0xac, Y1, Y2, Y3, Y0, Y28, 124, 20)

	STEP(0x96, Y0, Y1, Y2, Y3, Y21, 128, 4)
	STEP(0x96, Y3, Y0, Y1, Y2, Y24, 132, 11)
	STEP(0x96, Y2, Y3, Y0, Y1, Y27, 136, 16)
	STEP(0x96, Y1, Y2, Y3, Y0, Y30, 140, 23)
	STEP(0x96, Y0, Y1, Y2, Y3, Y17, 144, 4)
	STEP(0x96, Y3, Y0, Y1, Y2, Y20, 148, 11)
	STEP(0x96, Y2, Y3, Y0, Y1, Y23, 152, 16)
	STEP(0x96, Y1, Y2, Y3, Y0, Y26, 156, 23)
	STEP(0x96, Y0, Y1, Y2, Y3, Y29, 160, 4)
	STEP(0x96, Y3, Y0, Y1, Y2, Y16, 164, 11)
	STEP(0x96, Y2, Y3, Y0, Y1, Y19, 168, 16)
	STEP(0x96, Y1, Y2, Y3, Y0, Y22, 172, 23)
	STEP(0x96, Y0, Y1, Y2, Y3, Y25, 176, 4)
	STEP(0x96, Y3, Y0, Y1, Y2, Y28, 180, 11)
	STEP(0x96, Y2, Y3, Y0, Y1, Y31, 184, 16)
	STEP(0x96, Y1, Y2, Y3, Y0, Y18, 188, 23)

	STEP(0x63, Y0, Y1, Y2, Y3, Y16, 192, 6)
	STEP(0x63, Y3, Y0, Y1, Y2, Y23, 196, 10)
	STEP(0x63, Y2, Y3, Y0, Y1, Y30, 200, 15)
	STEP(0x63, Y1, Y2, Y3, Y0, Y21, 204, 21)
	STEP(0x63, Y0, Y1, Y2, Y3, Y28, 208, 6)
	STEP(0x63, Y3, Y0, Y1, Y2, Y19, 212, 10)
	STEP(0x63, Y2, Y3, Y0, Y1, Y26, 216, 15)
	STEP(0x63, Y1, Y2, Y3, Y0, Y17, 220, 21)
	STEP(0x63, Y0, Y1, Y2, Y3, Y24, 224, 6)
	STEP(0x63, Y3, Y0, Y1, Y2, Y31, 228, 10)
	STEP(0x63, Y2, Y3, Y0, Y1, Y22, 232, 15)
	STEP(0x63, Y1, Y2, Y3, Y0, Y29, 236, 21)
	STEP(0x63, Y0, Y1, Y2, Y3, Y20, 240, 6)
	STEP(0x63, Y3, Y0, Y1, Y2, Y27, 244, 10)
	STEP(0x63, Y2, Y3, Y0, Y1, Y18, 248, 15)
	STEP(0x63, Y1, Y2, Y3, Y0, Y25, 252, 21)

	VPADDD Y4, Y0, Y0
	VPADDD Y5, Y1, Y1
	VPADDD Y6, Y2, Y2
	VPADDD Y7, Y3, Y3
	ADDQ $64, R13
	DECQ R11
	JNZ  block

	VMOVDQU Y0, 0(R12)
	VMOVDQU Y1, 32(R12)
	VMOVDQU Y2, 64(R12)
	VMOVDQU Y3, 96(R12)
	VZEROUPPER
	RET

// The constants of the steps: the sines of 1 to 64, in radians, times 2 to the power of 32.
DATA constants<>+0(SB)/4, $0xd76aa478
DATA constants<>+4(SB)/4, $0xe8c7b756
DATA constants<>+8(SB)/4, $0x242070db
DATA constants<>+12(SB)/4, $0xc1bdceee
DATA constants<>+16(SB)/4, $0xf57c0faf
DATA constants<>+20(SB)/4, $0x4787c62a
DATA constants<>+24(SB)/4, $0xa8304613
DATA constants<>+28(SB)/4, $0xfd469501
DATA constants<>+32(SB)/4, $0x698098d8
DATA constants<>+36(SB)/4, $0x8b44f7af
DATA constants<>+40(SB)/4, $0xffff5bb1
DATA constants<>+44(SB)/4, $0x895cd7be
DATA constants<>+48(SB)/4, $0x6b901122
DATA constants<>+52(SB)/4, $0xfd987193
DATA constants<>+56(SB)/4, $0xa679438e
DATA constants<>+60(SB)/4, $0x49b40821
DATA constants<>+64(SB)/4, $0xf61e2562
DATA constants<>+68(SB)/4, $0xc040b340
DATA constants<>+72(SB)/4, $0x265e5a51
DATA constants<>+76(SB)/4, $0xe9b6c7aa
DATA constants<>+80(SB)/4, $0xd62f105d
DATA constants<>+84(SB)/4, $0x02441453
DATA constants<>+88(SB)/4, $0xd8a1e681
DATA constants<>+92(SB)/4, $0xe7d3fbc8
DATA constants<>+96(SB)/4, $0x21e1cde6
DATA constants<>+100(SB)/4, $0xc33707d6
DATA constants<>+104(SB)/4, $0xf4d50d87
DATA constants<>+108(SB)/4, $0x455a14ed
DATA constants<>+112(SB)/4, $0xa9e3e905
DATA constants<>+116(SB)/4, $0xfcefa3f8
DATA constants<>+120(SB)/4, $0x676f02d9
DATA constants<>+124(SB)/4, $0x8d2a4c8a
DATA constants<>+128(SB)/4, $0xfffa3942
DATA constants<>+132(SB)/4, $0x8771f681
DATA constants<>+136(SB)/4, $0x6d9d6122
DATA constants<>+140(SB)/4, $0xfde5380c
DATA constants<>+144(SB)/4, $0xa4beea44
DATA constants<>+148(SB)/4, $0x4bdecfa9
DATA constants<>+152(SB)/4, $0xf6bb4b60
DATA constants<>+156(SB)/4, $0xbebfbc70
DATA constants<>+160(SB)/4, $0x289b7ec6
DATA constants<>+164(SB)/4, $0xeaa127fa
DATA constants<>+168(SB)/4, $0xd4ef3085
DATA constants<>+172(SB)/4, $0x04881d05
DATA constants<>+176(SB)/4, $0xd9d4d039
DATA constants<>+180(SB)/4, $0xe6db99e5
DATA constants<>+184(SB)/4, $0x1fa27cf8
DATA constants<>+188(SB)/4, $0xc4ac5665
DATA constants<>+192(SB)/4, $0xf4292244
DATA constants<>+196(SB)/4, $0x432aff97
DATA constants<>+200(SB)/4, $0xab9423a7
DATA constants<>+204(SB)/4, $0xfc93a039
DATA constants<>+208(SB)/4, $0x655b59c3
DATA constants<>+212(SB)/4, $0x8f0ccc92
DATA constants<>+216(SB)/4, $0xffeff47d
DATA constants<>+220(SB)/4, $0x85845dd1
DATA constants<>+224(SB)/4, $0x6fa87e4f
DATA constants<>+228(SB)/4, $0xfe2ce6e0
DATA constants<>+232(SB)/4, $0xa3014314
DATA constants<>+236(SB)/4, $0x4e0811a1
DATA constants<>+240(SB)/4, $0xf7537e82
DATA constants<>+244(SB)/4, $0xbd3af235
DATA constants<>+248(SB)/4, $0x2ad7d2bb
DATA constants<>+252(SB)/4, $0xeb86d391
GLOBL constants<>(SB), RODATA|NOPTR, $256
