//go:build !linux

package volume

import "errors"

func ownPID() int { return 0 }

func newRegion(int) (*region, error) { return nil, errors.ErrUnsupported }

func (*region) free() {}

func (*region) unmap() {}

func (loan) path() string { return "" }

func (loan) named(string) error { return errors.ErrUnsupported }

func (loan) open(bool) ([]byte, func() error, error) { return nil, nil, errors.ErrUnsupported }
