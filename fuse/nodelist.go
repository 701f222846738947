package fuse

// list is a queue of nodes, in pieces, so that millions of them take eight bytes each and are never copied.
type list struct {
	pieces [][]*node
	length int
}

const listPiece = 4096

func (l *list) push(n *node) {
	if last := len(l.pieces) - 1; last < 0 || len(l.pieces[last]) == listPiece {
		l.pieces = append(l.pieces, make([]*node, 0, listPiece))
	}
	last := len(l.pieces) - 1
	l.pieces[last] = append(l.pieces[last], n)
	l.length++
}

// pop takes at most n nodes, those that came first.
func (l *list) pop(n int) []*node {
	if len(l.pieces) == 0 {
		return nil
	}
	first := l.pieces[0]
	n = min(n, len(first))
	out := append([]*node{}, first[:n]...)
	clear(first[:n])
	l.length -= n
	if l.pieces[0] = first[n:]; n == len(first) {
		l.pieces[0] = nil
		l.pieces = l.pieces[1:]
	}
	return out
}
