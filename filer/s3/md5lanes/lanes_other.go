//go:build !amd64

package md5lanes

func supported() bool { return false }

func blocks(*[4][width]uint32, *[width]*byte, int) { panic("md5lanes: not supported") }
