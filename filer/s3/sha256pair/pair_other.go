//go:build !amd64

package sha256pair

func supported() bool { return false }

func blocks(*state, *state, *byte, *byte, int) { panic("sha256pair: not supported") }
