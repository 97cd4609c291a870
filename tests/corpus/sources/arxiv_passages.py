"""Passages that a reader of the TeX of two papers expects in their text, in this order, and others to be absent."""

# Lo et al. 2020 (CC BY 4.0): passages from every section, its footnotes, captions and lists.
S2ORC_PASSAGES = """S2ORC: The Semantic Scholar Open Research Corpus
Abstract
We introduce S2ORC, a large corpus of 81.1M English-language academic papers
resolved bibliographic references, as well as structured full text
over academic text.
Instructions for access to the data and model are available at https://github.com/allenai/s2orc/.
Introduction
Aside from capturing valuable knowledge from humankind’s collective research efforts
interesting characteristics – thousands of words organized into sections
annotated in S2ORC’s structured full text. Citations are linked
A comparison of S2ORC with other publicly-available academic text corpora.
PubMed Central (OA) links to PubMed, which contains 30M papers
AMiner’s Open Academic Graph, the Microsoft Academic Graph (MAG), and
have had widespread application in bibliometrics, science-of-science
arXiv, PubMed Central, CiteSeerX, and the ACL Anthology
(e.g., studying how or why papers are related).
https://arxiv.org
https://www.ncbi.nlm.nih.gov/pmc
http://aan.how/
we introduce S2ORC, the Semantic Scholar Open Research Corpus,
pronounced “stork”
a curated subset of the papers in the Semantic Scholar literature graph
we provide 1.5M full text LaTeX parses from which
we describe the construction of S2ORC. We provide summary statistics
We then evaluate a BERT model pretrained on S2ORC, and discuss
Constructing the corpus
obtained directly from publishers, from resources such as MAG,
1. Process PDFs and LaTeX sources to derive metadata
2. Select the best metadata and full text parses
3. Filter paper clusters with insufficient metadata or content, and
4. Resolve bibliography links between paper clusters in the corpus.
Processing PDFs
using ScienceParse v3.0.0 and Grobid v0.5.5. Our processing pipeline
https://github.com/kermitt2/grobid
Selecting PDFs
dissertations, reports, slides, etc., and this filtering step is necessary
Extracting structured data from PDFs
We then use Grobid to process each PDF.
Our evaluations suggest ScienceParse outperforms Grobid
Postprocessing Grobid output
bracket (e.g. [2]), name-year (e.g. ABC, 2019), or other
“[3]-[5]” should be expanded to “[3], [4], [5]” before linking
Processing LaTeX source
the accuracy of citation span, reference, caption, section header
Therefore, we do not use LaTeX-derived metadata
Selecting canonical metadata
(DOI, PubMed, PubMed Central (PMC), arXiv, and ACL Anthology)
Assembling the corpus
open-access DOI in the Unpaywall database. If the PDF is not
Unpaywall 2019-04-19 data dump
Filtering paper clusters
The English language filter reduces Grobid parsing errors.
We use the cld2 tool for language detection
Subsequently, 95.5M paper clusters are filtered out
Post-processing data quality filters for papers
Linking bibliographies to papers
The similarity score $S_{title}$ is computed as the harmonic mean
S_{title} = \\frac{2 \\times J \\times C}{J + C}
where the Jaccard index $J$ and containment metric $C$ are computed
C = \\displaystyle\\frac{|N_1 \\cap N_2|}{\\min{(|N_1|,|N_2|)}}
the highest similarity score above 0.8 is output
The S2ORC dataset
Our publisher-provided abstract coverage is 90.4%, or 73.4M papers.
Statistics on paper provenance.
*LaTeX preserves line breaks rather than paragraph breaks.
Distribution of papers by Microsoft Academic field of study.
LaTeX parses contain many more “paragraphs” of body text
denoted as Unclassified. Approximately 677k papers have more than one
the mean $\\pm$ standard deviation of 5 runs with different random seeds.
Evaluation
we randomly sample 500 paper clusters, restricting to those with PDFs
an F1 of 0.89 in an evaluation corpus of 9.5k papers
Accuracy of paper clustering and bibliography linking
Pretraining BERT on S2ORC
we train BERT-Base on the parsed full text of S2ORC
- Domain:
such that biomedical (42.7%) and computer science (7.2%) papers
- Preprocessing: S2ORC identifies figure captions
- Size: The resulting S2ORC pretraining corpus contains 16.4B tokens
vocabulary of size 31k using 15% of the S2ORC pretraining corpus
a linear learning rate decay with 10% warm-up
Applications of S2ORC
both inline and document-level citation recommendation.
Word2vec embeddings associated with 20k papers
Sampled papers in clusters from t-SNE embedding space
insight into how and why papers are cited
Related work
built from the ACL Anthology and consists of 24.6k papers
S2ORC’s wealth of metadata and structured text allows it
Conclusion
used to construct the CORD-19 corpus, which saw fervent adoption
The Kaggle CORD-19 and TREC-COVID competitions.
Acknowledgements
We also thank Isabel Cachola, Dallas Card, Mike D’Arcy
Background & Terminology
A bibliography entry is an item in a paper’s bibliography
conference proceedings tend to lack journal-related features such as Volume, Issue, and Pages.
(e.g. “[1]” or “[ABC2019]”) that is used throughout
“ABC (2019) present model 1, which outperforms model 2 (XYZ (2019)).”
superscripts (e.g. “$^{1, 2}$”), both of which refer
“In Figure 3, we show the relationship between A and B.”
where Figure 3 refers to a plot displayed on a separate page.
PDF filters
Used to determine PDF page number and page dimensions
The paper clustering problem
the notion of a “paper” is somewhat ambiguous
S2ORC evaluation criteria
(e.g. “$\\gamma$” versus “gamma”) and ignoring whitespace
Training corpus sizes for other language models
ELMo, BERT, RoBERTa, GPT2, and others
Numeric representations in S2ORC-SciBERT
the final 2-3 BERT layers provide embeddings that excel
embeddings from layer 9 of S2ORC-SciBERT."""
S2ORC_ABSENT = """Kyle Lo
allenai.org}
Allen Institute for Artificial Intelligence
Lopez2009GROBIDCA
Saier2019
gorc_links
\\gorc
\\cite
\\ref
sec:
tab:
Uncomment this line
for which we cannot provide bibliography-paper linking.
Radev
BC5CDR
TransA: An Adaptive Approach
Page width
acl_natbib
gorc_refs
55mm
()
[1mm]
 ,
 ;"""

# The Stacks project, Brauer groups (GFDL 1.2): passages from every section, formulas as they stand in the source.
BRAUER_PASSAGES = """Brauer groups
Introduction
A reference is the lectures by Serre in the Seminaire Cartan, see.
Wedderburn’s theorem. Very likely this change is not an improvement
the original exposition by Serre.
Noncommutative algebras
Let $k$ be a field. In this chapter an algebra $A$ over $k$ is
Definition. Let $A$ be a $k$-algebra. We say $A$ is finite if $\\dim_k(A) < \\infty$.
Definition. A skew field is a possibly noncommutative ring
with $1 \\not = 0$, in which every nonzero element has
A skew field is a $k$-algebra for some $k$ (e.g., for the prime field
basis and exists by Zorn’s lemma.
only two-sided ideals of $A$ are $0$ and $A$.
This is called the opposite algebra.
Wedderburn’s theorem
The proof could not be simpler (quote from Carl Faith’s review).
Lemma. Let $A$ be a possibly noncommutative ring with $1$
Proof. Let $A' = \\text{End}_A(M)$, so $M$ is a left
We view $M$ as a right $A''$-module. Let $R : A \\to A''$
because left multiplication of $M$ by any element $n$
contains the identity element of $A''$, and so $R(A) = A''$.
This means that given $a'' \\in A''$ and $m \\in M$
is the opposite of what you’d get if you wrote elements
1. $A$ has a simple module,
3. a simple module over $A$ has finite dimension over $k$, and
Proof. Of course (1) follows from (2) since $A$ is
Simple finite algebras over a field are matrix algebras over a skew field.
It follows immediately that $A \\cong \\text{Mat}(n \\times n, K^{op})$.
Lemmas on algebras
The centralizer of $B$ in $A$ is the subalgebra
$$C  = \\{y \\in A \\mid xy = yx \\text{ for all }x \\in B\\}.$$
It is a $k$-algebra.
Since the center of a skew field is a field, we win.
Then $W$ is generated as a left $K$-vector space by $W \\cap (V \\otimes 1)$.
$$W/(V' \\otimes_k K)  \\subset  (V/V') \\otimes_k K.$$
To see this let $w \\in W$ be a nonzero element
$$c w - w c = \\sum\\nolimits_{i = 2, \\ldots, n} v_i \\otimes (c k_i - k_i c) \\in W$$
1. The functors $M \\mapsto M^{\\oplus n}$ and $N \\mapsto Ne_{11}$ define
Proof. Part (1) proves itself. If $J \\subset R_n$ is
6. For a finite $A$-module $N$ the algebra $B = \\text{End}_A(N)$ is a matrix
The formula of dimensions is clear. Part (6) follows as $N$
The tensor product of finite central simple algebras over $k$ is finite, central, and simple.
a \\otimes a' \\longmapsto (x \\mapsto axa')$$
is injective. Since both sides of the arrow have the same dimension we win.
The Brauer group of a field
We say $A$ and $B$ are similar if there exist $n, m > 0$
Lemma. Similarity.
Proof. Note that by Wedderburn’s theorem we can always write
Thus we obtain an abelian group.
The Brauer group of $k$ is the abelian group of similarity classes
$$\\text{Br}(k) \\longrightarrow \\text{Br}(k'),\\quad
In other words, $\\text{Br}(-)$ is a functor from the category of fields
The Brauer group of an algebraically closed field is zero.
Skolem-Noether
Theorem. Let $A$ be a finite central simple $k$-algebra. Let $B$ be a simple
Working out the definitions we see that $x$ is a solution to our problem.
Proof. The Skolem-Noether theorem applies.
The centralizer theorem
2. $[A : k] = [B : k][C : k]$, and
Lemma freely. Choose a simple $A$-module $M$.
(and the obvious fact that $B \\subset C')$.
3. $K$ is a maximal commutative subring.
The dimension of a finite central skew field is the square
Splitting fields
We say a field extension $k'/k$ splits $A$, or $k'$ is a splitting field
Another way to say this is that the class of $A$ maps to zero
Of course this centralizer is just $\\text{End}_{k'}(B)$ where
the Brauer class of the opposite algebra, so we win anyway.
Then $[k' : k]^2 = n^2d^2$ whence the result.
Proposition. Consider a finite central skew field $K$ over $k$.
In particular, every Brauer class has a finite separable spitting field.
Hence we may assume that $k$ has characteristic $p > 0$.
Consider the map
$$(-)^q : K \\longrightarrow K$$
(e.g., $e_{11}$). This is the desired contradiction.
5. there exist $d \\geq 1$ and a finite Galois extension $k'/k$
The integer $d$ is called the degree of $A$.
It is clear that (5) $\\Rightarrow$ (4) $\\Rightarrow$ (3). Assume (3).
Finally, the equivalence of (1) and (6) is Wedderburn’s theorem, see Theorem."""
BRAUER_ABSENT = """OK, start here
section-introduction
lemma-
theorem-
Serre-Cartan
Deuring
preamble
chapters
amsalpha
slogan
{\\it
noindent
\\medskip
()
 ."""
