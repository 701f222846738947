package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// progress shows how many bytes a transfer has moved, on a terminal only.
type progress struct {
	out     *os.File
	show    bool
	start   time.Time
	shown   time.Time
	moved   uint64
	printed bool
}

// progressEvery is the least time between two updates of the line.
const progressEvery = 200 * time.Millisecond

func newProgress(out *os.File) *progress {
	_, err := unix.IoctlGetTermios(int(out.Fd()), unix.TCGETS)
	return &progress{out: out, show: err == nil, start: time.Now()}
}

func (p *progress) add(n int) {
	p.moved += uint64(n)
	if now := time.Now(); p.show && now.Sub(p.shown) >= progressEvery {
		p.shown = now
		p.print()
	}
}

func (p *progress) print() {
	rate := float64(p.moved) / max(time.Since(p.start).Seconds(), 0.001)
	fmt.Fprintf(p.out, "\r%s  %s/s\x1b[K", byteText(p.moved), byteText(uint64(rate)))
	p.printed = true
}

// done leaves the final figure on the terminal.
func (p *progress) done() {
	if p.printed {
		p.print()
		fmt.Fprintln(p.out)
	}
}

func (p *progress) reader(r io.Reader) io.Reader { return &progressReader{r, p} }
func (p *progress) writer(w io.Writer) io.Writer { return &progressWriter{w, p} }

type progressReader struct {
	r io.Reader
	p *progress
}

func (r *progressReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.p.add(n)
	return n, err
}

type progressWriter struct {
	w io.Writer
	p *progress
}

func (w *progressWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.p.add(n)
	return n, err
}
